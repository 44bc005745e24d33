"""Optimisers of tables whose gradient names the rows that a step read: what was not read is not touched.

A dense Adam moves and decays every row at every step. At a million rows of 128 numbers that is three quarters of a
second of memory traffic a step; these take milliseconds, and docs/results.md has what they cost in quality.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from userrep.models.shards import Shard, shard_of
from userrep.training.eager import Eager

States = dict[int, dict[str, Any]]  # what is kept, by the table's number
CHUNK = 512  # rows updated at once: what is kept of them stays in a core's cache


class RowOptimizer(Eager):
    """Update the rows `(R,)` that a gradient names, in place; a dense gradient names them all.

    `weight_decay` is decoupled, as in AdamW, and caught up when a row is met again, at the rate of that step.
    """

    name: ClassVar[str]

    def __init__(self, params: Any, lr: float = 1e-3, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all tables that have a gradient."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is None:
                    continue
                rows, gradient = named_rows(table.grad)
                state = self.state[table]
                if not state:
                    state |= {"step": 0, "last": torch.zeros(len(table), dtype=torch.int32, device=table.device)}
                    state |= self.start(table)
                state["step"] += 1
                for start in range(0, len(rows), CHUNK):
                    part = slice(start, start + CHUNK)
                    self._update(table, state, rows[part], gradient[part], group["lr"], group["weight_decay"])

    def state_dict(self) -> dict[str, Any]:
        """Return what is kept of whole tables; of sharded ones the leader has it, and all processes must ask."""
        told = super().state_dict()
        return told | {"state": self._changed(told["state"], lambda shard, value: shard.whole(value))}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state of whole tables over; torch turns all of it into their own type, and steps are whole numbers."""
        own = self._changed(state_dict["state"], lambda shard, value: shard.own(value))
        super().load_state_dict(state_dict | {"state": own})
        for state in self.state.values():
            state["last"] = state["last"].to(torch.int32)

    def _changed(self, states: States, change: Callable[[Shard, Tensor], Tensor]) -> States:
        """Change all tensors that are kept of sharded tables."""
        tables = [table for group in self.param_groups for table in group["params"]]
        found = {}
        for number, state in sorted(states.items()):
            shard = shard_of(tables[number])
            kept = state.items()
            found[number] = state if shard is None else {
                name: change(shard, value) if isinstance(value, Tensor) else value for name, value in kept
            }  # fmt: skip
        return found

    def _update(
        self, table: Tensor, state: dict[str, Any], rows: Tensor, gradient: Tensor, lr: float, decay: float
    ) -> None:
        passed = (state["step"] - state["last"].index_select(0, rows)).to(table.dtype).unsqueeze(1)  # (R, 1)
        state["last"].index_fill_(0, rows, state["step"])
        change = self.change(state, rows, gradient, passed, lr)
        if decay:
            change += table.index_select(0, rows).mul_(1 - (1 - lr * decay) ** passed)
        table.index_add_(0, rows, change, alpha=-1)

    @abstractmethod
    def start(self, table: Tensor) -> dict[str, Tensor]:
        """Return what is kept of a table `(V, D)` before its first step."""
        raise NotImplementedError

    @abstractmethod
    def change(self, state: dict[str, Any], rows: Tensor, gradient: Tensor, passed: Tensor, lr: float) -> Tensor:
        """Return what is taken off `rows (R,)`, by their `gradient (R, D)`, `passed (R, 1)` steps after the last."""
        raise NotImplementedError


class LazyAdam(RowOptimizer):
    """Adam that moves a row only when it was read.

    Both averages decay for the steps that a row missed, so that they are those of Adam when the row is read. Adam goes
    on moving a row by momentum until it is read again, ten times as far in all where that is rare; here it makes these
    moves at once, as if the row missed as many steps again as it did before: `(1 - b ** n) / (1 - b)` for n steps from
    reading to reading. Where every row is read at every step this is Adam (Kingma and Ba, ICLR 2015).
    """

    name: ClassVar[str] = "lazy"
    first, second, tiny = 0.9, 0.999, 1e-8

    def start(self, table: Tensor) -> dict[str, Tensor]:
        return {"mean": torch.zeros_like(table), "square": torch.zeros_like(table)}

    def change(self, state: dict[str, Any], rows: Tensor, gradient: Tensor, passed: Tensor, lr: float) -> Tensor:
        mean, square = (state[name].index_select(0, rows) for name in ("mean", "square"))
        mean.mul_(self.first**passed).add_(gradient, alpha=1 - self.first)
        square.mul_(self.second**passed).addcmul_(gradient, gradient, value=1 - self.second)
        state["mean"].index_copy_(0, rows, mean)
        state["square"].index_copy_(0, rows, square)
        steps = state["step"]
        scale = square.div_(1 - self.second**steps).sqrt_().add_(self.tiny)
        until = (1 - self.first**passed).div_(1 - self.first)  # moves until the next reading, in present ones
        return mean.mul_(lr / (1 - self.first**steps)).mul_(until).div_(scale)


class RowAdagrad(RowOptimizer):
    """Adagrad with one number for a row: the sum of its mean squared gradients, so that a state of V numbers is kept.

    Row-wise Adagrad of recommendation models (Naumov et al., DLRM, 2019). Its rate is not Adam's: some 0.05 to 0.1.
    """

    name: ClassVar[str] = "rowwise"
    tiny = 1e-8

    def start(self, table: Tensor) -> dict[str, Tensor]:
        return {"sum": torch.zeros(len(table), 1, dtype=table.dtype, device=table.device)}

    def change(self, state: dict[str, Any], rows: Tensor, gradient: Tensor, passed: Tensor, lr: float) -> Tensor:
        total = state["sum"].index_select(0, rows).add_(gradient.square().mean(dim=1, keepdim=True))
        state["sum"].index_copy_(0, rows, total)
        return gradient * (lr / (total.sqrt_() + self.tiny))


ROW_OPTIMIZERS: dict[str, type[RowOptimizer]] = {kind.name: kind for kind in (LazyAdam, RowAdagrad)}


def named_rows(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows `(R,)` that a gradient names, each once, and its values there `(R, D)`."""
    if not gradient.is_sparse:
        return torch.arange(len(gradient), device=gradient.device), gradient
    own = gradient.coalesce()
    return own.indices()[0], own.values()

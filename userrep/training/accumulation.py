"""Accumulation: the gradient of a batch made of parts, one after another to save memory, or each by another process.

The loss of a batch is a mean over so many terms, `objective.terms`. Each part gives the gradient of its sum, the sums
are added up, over the parts and over the team, and divided once: the batch is what it was, however it was cut.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from userrep import console, team
from userrep.errors import ConfigError
from userrep.models.shards import settle, shard_of
from userrep.objectives.objective import Objective

LARGE = 1 << 20  # numbers from which a gradient is summed over the team by itself, and not copied beside others

LossOf = Callable[[np.ndarray], Tensor]


@dataclass(frozen=True)
class Asked:
    """What is to be done after a step: stop, or save; in a team all do what any is asked for."""

    stop: bool = False
    save: bool = False


@dataclass
class Sums:
    """What a step adds up beside its gradient: the loss's sum, the number of comparisons, and what is asked for."""

    loss: Tensor
    terms: float
    asked: Asked = field(default_factory=Asked)


def check_divisible(objective: Objective, own_loss: bool, parts: int) -> None:
    """Raise ConfigError where batches must be cut and a loss is no mean over single examples."""
    if (parts > 1 or team.size() > 1) and (own_loss or not objective.divisible):
        raise ConfigError(
            f"the loss of {objective.task_name} compares the examples of a batch, or is the method's own: it cannot be "
            "learned in parts",
            "take one device and trainer.accumulate=1, or a task norm that is not over users (task.norm=layer)",
        )


class Accumulation:
    """Cut batches into parts, `count` of them at first; more once memory has run out."""

    def __init__(self, objective: Objective, count: int, own_loss: bool) -> None:
        check_divisible(objective, own_loss, count)
        self.objective, self.count, self.own_loss = objective, count, own_loss

    def gradient(
        self, index: np.ndarray, loss_of: LossOf, parameters: Sequence[nn.Parameter], draws: torch.Generator,
        asked: Asked,
    ) -> tuple[Tensor, Asked]:  # fmt: skip
        """Leave the gradient of a batch's mean loss in `parameters`; return the loss and what anybody is asked for.

        Where memory runs out, the parts are halved and the batch is done again, with the same draws.
        """
        own, before = team.share(index), draws.get_state()
        while True:
            try:
                return self._gradient(own, loss_of, parameters, asked)
            except (torch.OutOfMemoryError, MemoryError) as error:
                self._halve(len(own), error, any(shard_of(parameter) for parameter in parameters))
            for parameter in parameters:
                parameter.grad = None
            draws.set_state(before)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _gradient(
        self, index: np.ndarray, loss_of: LossOf, parameters: Sequence[nn.Parameter], asked: Asked
    ) -> tuple[Tensor, Asked]:
        if self.count == 1 and team.size() == 1:
            loss = loss_of(index)
            loss.backward()
            return loss.detach(), asked
        total, terms = torch.zeros((), dtype=torch.float64), 0
        for part in np.array_split(index, min(self.count, max(1, len(index)))):
            if len(part):
                loss = loss_of(part)
                number = self.objective.terms
                assert number is not None
                (loss * number).backward()
                total, terms = total + loss.detach().double().cpu() * number, terms + number
        settle()
        sums = sum_over_team(parameters, Sums(total, terms, asked))
        divide(parameters, sums.terms)
        return sums.loss / max(1.0, sums.terms), sums.asked

    def _halve(self, examples: int, error: BaseException, sharded: bool) -> None:
        if sharded:  # the others have gone on, with gradients that came of the half of a step
            raise MemoryError("a step with sharded tables cannot be done again") from error
        if self.own_loss or not self.objective.divisible or self.count >= examples:
            raise error
        self.count = min(2 * self.count, examples)
        console.warn(
            f"out of memory: batches keep their size and are made of {self.count} parts from here on, of at most "
            f"{-(-examples // self.count)} examples; trainer.accumulate={self.count} does so from the start"
        )


def divide(parameters: Sequence[nn.Parameter], terms: float) -> None:
    """Divide all gradients by the number of comparisons."""
    values = [found for parameter in parameters if (found := _values(parameter)) is not None]
    if values:
        torch._foreach_mul_(values, 1.0 / max(1.0, terms))


def _values(parameter: nn.Parameter) -> Tensor | None:
    gradient = parameter.grad
    return gradient._values() if gradient is not None and gradient.is_sparse else gradient


def sum_over_team(parameters: Sequence[nn.Parameter], own: Sums) -> Sums:
    """Add the gradients and the sums of all processes up, in place; each has the same afterwards.

    A gradient that nobody has stays away, so that an optimiser skips its parameter as it would in one process. That of
    a sharded table is summed where its rows lie.
    """
    if team.size() == 1:
        return own
    parameters = [parameter for parameter in parameters if shard_of(parameter) is None]
    told = torch.tensor([float(own.loss), own.terms, own.asked.stop, own.asked.save], dtype=torch.float64)
    state = torch.tensor([_state(parameter) for parameter in parameters], dtype=torch.float64)
    both = torch.cat([told, (state > 0).double(), (state > 1).double()])
    team.add(both)
    held, by_row = both[4:].view(2, len(parameters)).gt(0).tolist()
    present = [(one, rows) for one, there, rows in zip(parameters, held, by_row, strict=True) if there]
    for parameter, rows in present:
        if rows:
            _sum_rows(parameter)
    _sum_dense([parameter for parameter, rows in present if not rows])
    return Sums(both[0], float(both[1]), Asked(*both[2:4].gt(0).tolist()))


def _state(parameter: nn.Parameter) -> int:
    """Return 0 without a gradient, 1 with a dense one, 2 with one that names rows."""
    return 0 if parameter.grad is None else 1 + int(parameter.grad.is_sparse)


def _sum_dense(parameters: Sequence[nn.Parameter]) -> None:
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    for bucket in _buckets(parameters):
        gradients = [parameter.grad for parameter in bucket if parameter.grad is not None]
        if len(gradients) == 1:
            team.add(gradients[0])
            continue
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        team.add(flat)
        for gradient, summed in zip(gradients, flat.split([one.numel() for one in gradients]), strict=True):
            gradient.copy_(summed.view_as(gradient))


def _buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Yield large parameters alone and small ones of one type together: a message costs more than its bytes."""
    small: dict[torch.dtype, list[nn.Parameter]] = {}
    for parameter in parameters:
        if parameter.numel() >= LARGE:
            yield [parameter]
        else:
            small.setdefault(parameter.dtype, []).append(parameter)
    yield from small.values()


def _sum_rows(parameter: nn.Parameter) -> None:
    """Let every process have the rows of all: a message of the rows that were read, not of the table."""
    if parameter.grad is None:
        rows = torch.zeros(0, dtype=torch.int64, device=parameter.device)
        values = parameter.new_zeros((0, *parameter.shape[1:]))
    else:
        own = parameter.grad.coalesce()
        rows, values = own.indices()[0], own.values()
    indices, found = torch.cat(team.gather_rows(rows)), torch.cat(team.gather_rows(values.detach()))
    parameter.grad = torch.sparse_coo_tensor(
        indices.unsqueeze(0), found, parameter.shape, check_invariants=False
    ).coalesce()

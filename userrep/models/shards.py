"""Shards: tables whose rows are dealt out to the processes of a team, read and taught by all of them.

Row r of a table lies with process r mod W. The processes meet in rounds, and each brings what it wants: rows to read,
gradients of rows to give, or nothing any more. Nobody has to want the same as the others, nor equally often: who is
done answers them until all are. A table of V rows costs each process V / W, and a round the rows that are asked for.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from userrep import team
from userrep.models.rows import SHARD

READ, GIVE, DONE = range(3)
_shards: list["Shard"] = []  # of this process, in the order of all


class Shard:
    """This process's rows of `table`, which was `(V, D)` and holds `(V / W, D)` from now on."""

    def __init__(self, table: nn.Parameter) -> None:
        self.rows, self.width = table.shape
        self.table = table
        self.given: list[tuple[Tensor, Tensor]] = []  # own rows and their gradients, since the last settling
        self.met = False  # whether anybody gave any, to anybody
        table.data = self.own(table.data).clone()
        table.grad = None
        setattr(table, SHARD, self)

    def own(self, whole: Tensor) -> Tensor:
        """Return this process's rows of something `(V, ...)`."""
        return whole[team.rank() :: team.size()]

    def whole(self, own: Tensor) -> Tensor:
        """Bring the rows of all processes together, `(V, ...)` on the CPU of the leader; elsewhere they stay `own`."""
        if team.follows():
            team.send(own.detach().cpu().contiguous())
            return own
        found = torch.empty((self.rows, *own.shape[1:]), dtype=own.dtype)
        self.own(found).copy_(own.detach())
        for place in range(1, team.size()):
            part = found[place :: team.size()]
            part.copy_(team.receive(torch.empty(part.shape, dtype=own.dtype), place))
        return found

    def look_up(self, ids: Tensor) -> Tensor:
        """Read rows `ids (...)`, wherever they lie: `(..., D)`; their gradients go back to where they lie."""
        found: Tensor = _LookUp.apply(self.table, ids, self)
        return found

    def read(self, ids: Tensor) -> Tensor:
        """Read rows `ids (R,)`: `(R, D)`, once all processes have met."""
        return _Round(READ, self, ids, self.table.new_empty(0)).read()

    def give(self, ids: Tensor, gradient: Tensor) -> None:
        """Send the gradient `(R, D)` of rows `ids (R,)` to those who have them."""
        _Round(GIVE, self, ids, gradient)

    def settle(self) -> None:
        """Leave the sum of what was given in the table's gradient: of its own rows, and none where nobody gave any."""
        if not self.met:
            return
        rows = torch.cat([rows for rows, _ in self.given])
        values = torch.cat([gradient for _, gradient in self.given])
        shape = self.table.shape
        self.table.grad = torch.sparse_coo_tensor(rows.unsqueeze(0), values, shape, check_invariants=False).coalesce()
        self.given, self.met = [], False


class _LookUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor, shard: Shard) -> Tensor:
        met, places = ids.unique(return_inverse=True)
        ctx.shard = shard
        ctx.save_for_backward(met, places)
        return shard.read(met)[places]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, None]:
        met, places = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, ctx.shard.width)
        ctx.shard.give(met, gradient.new_zeros(len(met), ctx.shard.width).index_add_(0, places.flatten(), gradient))
        return None, None, None


class _Round:
    """One round: what each process wants, told to all, then ids, then rows or gradients."""

    def __init__(self, kind: int, shard: Shard | None, ids: Tensor, gradient: Tensor) -> None:
        number = -1 if shard is None else _shards.index(shard)
        owner = ids % team.size()
        self.order = torch.argsort(owner, stable=True)
        sent = torch.bincount(owner, minlength=team.size()).cpu()
        told = torch.stack(team.gather(torch.cat([torch.tensor([kind, number]), sent])))  # (W, 2 + W)
        self.kinds, numbers = told[:, 0].tolist(), told[:, 1].tolist()
        self.over = all(one == DONE for one in self.kinds)
        if self.over:
            return
        self.shard, self.sent = shard, sent.tolist()
        self.asked: list[int] = told[:, 2 + team.rank()].tolist()
        self.tables = [_shards[one] if one >= 0 else None for one in numbers]
        wanted = team.exchange((ids // team.size())[self.order], self.sent, self.asked)
        self.wanted = wanted.split(self.asked)
        if READ in self.kinds:
            self.found = self._answer(ids.device)
        if GIVE in self.kinds:
            self._take(gradient[self.order] if kind == GIVE else gradient)

    def read(self) -> Tensor:
        """Return the rows that were asked for, in the order of their ids."""
        assert self.shard is not None
        rows = torch.empty_like(self.found.view(-1, self.shard.width))
        rows[self.order] = self.found.view(-1, self.shard.width)
        return rows

    def _answer(self, device: torch.device) -> Tensor:
        """Send the rows that were asked for; return those that came, one after another."""
        rows = [
            shard.table.detach().index_select(0, ids).flatten()
            for shard, ids, kind in zip(self.tables, self.wanted, self.kinds, strict=True)
            if shard is not None and kind == READ
        ]
        answered = torch.cat(rows) if rows else torch.empty(0, device=device)
        return team.exchange(answered, self._sizes(self.asked, READ), self._own_sizes(READ))

    def _take(self, gradient: Tensor) -> None:
        """Send the gradients that this process has; keep those of its own rows."""
        sizes = self._sizes(self.asked, GIVE)
        came = team.exchange(gradient.flatten(), self._own_sizes(GIVE), sizes).split(sizes)
        for shard, ids, kind, values in zip(self.tables, self.wanted, self.kinds, came, strict=True):
            if shard is not None and kind == GIVE:
                shard.given.append((ids, values.view(-1, shard.width)))
                shard.met = True

    def _sizes(self, counts: Sequence[int], kind: int) -> list[int]:
        """Return how many numbers go between this process and each that does `kind`, by its rows and its table."""
        return [
            count * shard.width if shard is not None and own == kind else 0
            for count, shard, own in zip(counts, self.tables, self.kinds, strict=True)
        ]

    def _own_sizes(self, kind: int) -> list[int]:
        doing = self.shard is not None and self.kinds[team.rank()] == kind
        return [count * self.shard.width if doing and self.shard is not None else 0 for count in self.sent]


def shard_of(table: Tensor) -> Shard | None:
    """Return the shard that a table is, or None where this process has all of it."""
    found: Shard | None = getattr(table, SHARD, None)
    return found


def deal(tables: Sequence[nn.Parameter]) -> None:
    """Deal the rows of tables out to the team; all processes must do so, with equal tables."""
    _shards.extend([Shard(table) for table in tables])


def settle() -> None:
    """Answer the others until all are done; then each table has the gradient of its own rows."""
    if not _shards:
        return
    device = _shards[0].table.device
    while not _Round(DONE, None, torch.empty(0, dtype=torch.int64, device=device), torch.empty(0, device=device)).over:
        pass
    for shard in _shards:
        shard.settle()


@contextmanager
def whole_with_leader() -> Iterator[None]:
    """Let the leader have whole tables, on its CPU, as long as it writes them; all processes must come along."""
    own = [shard.table.data for shard in _shards]
    for shard in _shards:
        shard.table.data = shard.whole(shard.table.data)
    try:
        yield
    finally:
        for shard, data in zip(_shards, own, strict=True):
            shard.table.data = data


def unite() -> None:
    """Let every process have all rows again, on its CPU."""
    for shard in _shards:
        found = shard.whole(shard.table.data)
        if team.follows():
            found = torch.empty(shard.rows, shard.width, dtype=found.dtype)
        team.share_weights([found])
        shard.table.data, shard.table.grad = found, None
        delattr(shard.table, SHARD)
    _shards.clear()

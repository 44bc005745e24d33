"""Packing: a batch of histories without its padding, one row an event, for sublayers that know where events lie."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from userrep.models.sublayer import Sublayer

SAVED = {True: 0.15, False: 0.3}  # with gradients, without: the share of tap rows that must be saved
MARK = "packing"  # where the `keep` of rows has their packing
_allowed: ContextVar[bool] = ContextVar("allowed", default=True)


class Packing:
    """Which of the steps `(B, T)` of left-padded histories are events, and the order of their N rows.

    They are ordered by place in the history, and in one place the longest history comes first, as in torch's
    PackedSequence. So the rows that have an event `shift` places before them are the last ones, without a gap.
    """

    def __init__(self, lengths: Tensor, steps: int) -> None:
        places = torch.arange(steps, device=lengths.device)
        having = (lengths > places.unsqueeze(1)).sum(dim=1)  # (T,): how many histories have an event in this place
        self._begins = torch.cat([having.new_zeros(1), having.cumsum(dim=0)])  # (T + 1,): the first row of each place
        self._place = places.repeat_interleave(having)  # (N,)
        self._rank = torch.arange(len(self._place), device=lengths.device) - self._begins[self._place]
        self._user = lengths.argsort(descending=True, stable=True)[self._rank]
        self._step = self._user * steps + steps - lengths[self._user] + self._place  # (N,), of the B T steps
        self._lengths, self._steps, self._level = lengths, steps, _level(lengths)
        self._pairs: dict[int, tuple[Tensor | slice, slice]] = {}

    def pack(self, states: Tensor) -> Tensor:
        """Take the rows of `states (B, T, D)`, or what `(B, 1, D)` say of all events of a user: `(1, N, D)`."""
        if states.shape[1] == 1:
            return states[self._user, 0].unsqueeze(0)
        return states.flatten(0, 1).index_select(0, self._step).unsqueeze(0)

    def unpack(self, rows: Tensor) -> Tensor:
        """Put rows `(1, N, D)` back to their steps, zeros at padding: `(B, T, D)`."""
        users = len(self._lengths)
        padding = rows.new_zeros(users * self._steps, rows.shape[2])
        return padding.index_copy(0, self._step, rows[0]).unflatten(0, (users, self._steps))

    def only(self, users: Tensor) -> tuple[Tensor, "Packing"]:
        """Return which rows are those of the marked `users (B,)`, and the packing that these rows have."""
        return users[self._user].nonzero().flatten(), Packing(self._lengths[users], self._steps)

    def keep(self, like: Tensor) -> Tensor:
        """Return the `keep` of the rows, `(1, N, 1)`, all ones, with a mark by which a block knows them for packed."""
        keep = like.new_ones(1, len(self._step), 1)
        setattr(keep, MARK, self)
        return keep

    def pairs(self, shift: int) -> tuple[Tensor | slice, slice]:
        """Return the rows that have another one `shift >= 0` places later in their history, and those, in pairs."""
        if shift not in self._pairs:
            rows, first = len(self._step), int(self._begins[min(shift, self._steps)])
            later = slice(first, rows)
            earlier = self._begins[self._place[later] - shift] + self._rank[later]
            self._pairs[shift] = slice(0, rows - first) if self._level else earlier, later
        return self._pairs[shift]


def packing_of(keep: Tensor) -> Packing | None:
    """Return the packing of the rows that `keep` belongs to; None where they are steps of padded histories."""
    found: Packing | None = getattr(keep, MARK, None)
    return found


def select(users: Tensor, keep: Tensor) -> tuple[int, Tensor, Tensor]:
    """Return where in states those of the marked `users (B,)` lie, a dimension and indices, and the `keep` of these."""
    packing = packing_of(keep)
    if packing is None:
        return 0, users.nonzero().flatten(), keep[users]
    rows, own = packing.only(users)
    return 1, rows, own.keep(keep)


@contextmanager
def padded() -> Iterator[None]:
    """Keep all histories padded inside the block: what is counted there is what another device would compute."""
    token = _allowed.set(False)
    try:
        yield
    finally:
        _allowed.reset(token)


def packed(parts: Iterable[Sublayer], states: Tensor, keep: Tensor) -> Packing | None:
    """Return the packing of `states (B, T, D)` where all parts take packed rows and run faster on them, else None.

    A tap that reads s steps back has max(0, L - s) rows of a history with L events, where padded states have T; layers
    that read each step by itself count as a tap with s = 0. The share of tap rows that is saved decides: measured on
    one core of an EPYC (AVX2), torch 2.13, packed rows are faster from 0.15 on in training, 0.3 in reading
    (docs/performance.md has the table). Where no history is shorter than another, no row is sought, and convolutions
    train faster whatever the share. Other devices and types were not measured, and what is traced or compiled keeps
    the operations that compilers know.
    """
    if states.device.type != "cpu" or states.dtype not in (torch.float32, torch.float64):
        return None
    if torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling() or not _allowed.get():
        return None
    shifts = _shifts(parts)
    real = keep.squeeze(-1).gt(0)
    lengths = real.sum(dim=1)
    if not shifts or not lengths.any() or (real[:, :-1] > real[:, 1:]).any():
        return None  # a part that cannot, no events, or a hole, which is a step that a tap counts
    taps = torch.tensor(shifts, device=lengths.device).abs()
    rows = int((lengths.unsqueeze(1) - taps).clamp_min(0).sum())
    training = torch.is_grad_enabled()
    pays = rows <= (1 - SAVED[training]) * len(shifts) * real.numel() or (training and any(shifts) and _level(lengths))
    return Packing(lengths, real.shape[1]) if pays else None


def _shifts(parts: Iterable[Sublayer]) -> list[int]:
    """Return how far back the taps of all parts read, 0 where there are none; [] where a part takes no packed rows."""
    shifts: list[int] = []
    for part in parts:
        inside = [module for module in part.modules() if isinstance(module, Sublayer)]
        if part._compiled_call_impl is not None or not all(module.packs for module in inside):
            return []
        for module in inside:
            shifts += getattr(module, "shifts", ())
    return shifts or [0]


def _level(lengths: Tensor) -> bool:
    return bool((lengths == lengths[0]).all())

"""Batches: histories gathered by index from flat arrays, padded on the fly, in an order that a seed repeats."""

from dataclasses import dataclass, replace
from typing import Any, Self
from typing import Protocol as Interface

import numpy as np
import torch
from torch import Tensor

from userrep.sequences.vocab import PAD

Order = list[np.ndarray]
POOL = 16  # batches whose examples are sorted by length together, so that short ones share a batch


@dataclass(frozen=True)
class Batch:
    """What a loss sees: `items (B, T)` left-padded with 0, `targets (B, T)` or `(B,)`, `rows (B,)` of the users.

    `user (B, P * D)` holds cached user vectors where nothing below the head trains, else None. `part` names the task
    that the batch is of, where several are learned together.
    """

    items: Tensor
    targets: Tensor
    rows: Tensor
    user: Tensor | None = None
    part: str | None = None

    def to(self, device: torch.device) -> Self:
        """Return the batch on another device; a GPU fetches it from pinned memory while the host goes on."""
        moved: dict[str, Any] = {
            name: _moved(value, device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)


def _moved(value: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda" and not value.is_cuda:
        return value.pin_memory().to(device, non_blocking=True)
    return value.to(device)


@dataclass(frozen=True)
class Following(Batch):
    """A batch whose `targets (B, T)` are the items that follow those of `items`, 0 at padding."""


@dataclass(frozen=True)
class Cases:
    """Examples by index: user `rows (N,)`, absolute `ends (N,)` (exclusive) of their input histories, `targets (N,)`.

    A target is a vocabulary id for ranking, a class code for classification.
    """

    rows: np.ndarray
    ends: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: np.ndarray) -> "Cases":
        """Return the chosen examples, by index or mask."""
        return Cases(self.rows[chosen], self.ends[chosen], self.targets[chosen])


class Feed(Interface):
    """A source of training batches: an epoch is an order drawn once, and any batch of it can be made alone.

    That is what makes resuming exact: the order is drawn again from the epoch's seed, and the batches done are skipped.
    """

    def order(self, rng: np.random.Generator) -> Order: ...

    def batch(self, index: np.ndarray) -> Batch: ...


def gather(flat: np.ndarray, begins: np.ndarray, ends: np.ndarray, length: int) -> np.ndarray:
    """Gather `flat[begins:ends]` for each row, newest `length` kept, left-padded with 0: `(B, length)` int64."""
    index = ends[:, None] + np.arange(-length, 0)  # (B, T)
    real = index >= begins[:, None]
    return np.where(real, flat[np.where(real, index, 0)], PAD).astype(np.int64)


def histories(items: np.ndarray, offsets: np.ndarray, cases: Cases, length: int) -> np.ndarray:
    """Gather the newest `length` items before each case's end: `(N, length)`; an empty history is all padding."""
    return gather(items, offsets[cases.rows], cases.ends, length)


def shuffled(count: int, batch_size: int, rng: np.random.Generator, lengths: np.ndarray | None = None) -> Order:
    """Split a random order of `count` examples into batches; with `lengths`, alike lengths share a batch.

    Sorting happens inside pools of a few batches and the batches are shuffled again, so that order stays random at the
    scale of a pool while padding shrinks.
    """
    order = rng.permutation(count)
    if lengths is not None:
        pool = batch_size * POOL
        pools = [order[start : start + pool] for start in range(0, count, pool)]
        order = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in pools]) if pools else order
    batches = [order[start : start + batch_size] for start in range(0, count, batch_size)]
    return [batches[index] for index in rng.permutation(len(batches))] if lengths is not None else batches


class Windows:
    """Feed next-item windows: each training event of a user, but the first, is a target once an epoch.

    A user's targets are cut into windows of at most `length`, the first cut at a random offset, so that context lengths
    vary from epoch to epoch. `begins`, `ends` (R,) are absolute training ranges in `items`, `rows` (R,) their users.
    """

    def __init__(
        self, items: np.ndarray, begins: np.ndarray, ends: np.ndarray, rows: np.ndarray, length: int, batch_size: int
    ) -> None:
        trainable = ends - begins >= 2
        self.items, self.length, self.batch_size = items, length, batch_size
        self.begins, self.ends, self.rows = begins[trainable], ends[trainable], rows[trainable]

    def order(self, rng: np.random.Generator) -> Order:
        """Draw this epoch's windows and their batches; each batch is (B, 3): begin, end, user row."""
        windows = self._cut(rng)
        index = shuffled(len(windows), self.batch_size, rng, windows[:, 1] - windows[:, 0])
        return [windows[chosen] for chosen in index]

    def batch(self, index: np.ndarray) -> Batch:
        """Gather inputs and next items, trimmed to the batch's longest window: `(B, T)` each."""
        begins, ends, rows = index.T
        length = int((ends - begins).max()) - 1
        items = gather(self.items, begins, ends - 1, length)
        targets = gather(self.items, begins + 1, ends, length)
        return Following(torch.from_numpy(items), torch.from_numpy(targets), torch.from_numpy(rows.copy()))

    def _cut(self, rng: np.random.Generator) -> np.ndarray:
        targets = self.ends - self.begins - 1  # (R,) events that are predicted
        first = np.minimum(rng.integers(1, self.length + 1, size=len(targets)), targets)
        counts = 1 + -(-(targets - first) // self.length)
        owner = np.repeat(np.arange(len(targets)), counts)
        nth = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        stop = np.minimum(first[owner] + nth * self.length, targets[owner])  # targets covered after this window
        start = np.where(nth == 0, 0, first[owner] + (nth - 1) * self.length)
        begin = self.begins[owner]
        return np.stack([begin + start, begin + stop + 1, self.rows[owner]], axis=1)


class Histories:
    """Feed one example a user: the newest `length` items before its end, with a class or an item as target."""

    def __init__(self, items: np.ndarray, offsets: np.ndarray, cases: Cases, length: int, batch_size: int) -> None:
        self.items, self.offsets, self.cases = items, offsets, cases
        self.length, self.batch_size = length, batch_size
        self.lengths = np.minimum(cases.ends - offsets[cases.rows], length)

    def order(self, rng: np.random.Generator) -> Order:
        """Draw the epoch's batches, each an index into the cases."""
        return shuffled(len(self.cases), self.batch_size, rng, self.lengths)

    def batch(self, index: np.ndarray) -> Batch:
        """Gather histories trimmed to the batch's longest: items `(B, T)`, targets `(B,)`."""
        cases = self.cases.take(index)
        items = histories(self.items, self.offsets, cases, max(1, int(self.lengths[index].max())))
        return Batch(torch.from_numpy(items), torch.from_numpy(cases.targets), torch.from_numpy(cases.rows))


class Cached:
    """Feed the same examples with user vectors computed once `(N, P * D)`: what a frozen encoder allows."""

    def __init__(self, feed: Feed, users: Tensor) -> None:
        self.feed, self.users = feed, users

    def order(self, rng: np.random.Generator) -> Order:
        """Draw the order of the feed below."""
        return self.feed.order(rng)

    def batch(self, index: np.ndarray) -> Batch:
        """Attach the cached vectors of the batch's examples."""
        return replace(self.feed.batch(index), user=self.users[torch.from_numpy(index)])


class InCompany:
    """Feed the batches of another feed, but none of one example alone: it joins the batch before it, or after it."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed

    def order(self, rng: np.random.Generator) -> Order:
        """Draw the order of the feed below."""
        joined: Order = []
        for index in self.feed.order(rng):
            if joined and 1 in (len(index), len(joined[-1])):
                joined[-1] = np.concatenate([joined[-1], index])
            else:
                joined.append(index)
        return joined

    def batch(self, index: np.ndarray) -> Batch:
        """Make a batch of the feed below."""
        return self.feed.batch(index)

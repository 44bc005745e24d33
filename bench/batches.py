"""Batches: an epoch of next-item windows, without a model."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from bench import plain
from bench.case import Case
from bench.pairs import Work
from bench.workspace import Data
from userrep.sequences.batches import Windows


def cases(data: Data) -> Iterator[Case]:
    """Compare epochs that predict the same events, at several batch sizes."""
    for size in data.size.batch_sizes:
        ours, theirs = partial(_windows, data, size), partial(_dataset, data, size)
        yield Case("batches", data.size.items, f"an epoch, B={size}", ours, theirs, 0.0)


def _windows(data: Data, batch_size: int) -> Work:
    sequences = data.prepared.sequences()
    bounds, users = (sequences.offsets[:-1], sequences.offsets[1:]), np.arange(data.prepared.num_users)
    feed, rng = Windows(sequences.items, *bounds, users, data.size.history, batch_size), np.random.default_rng(0)
    return lambda: sum(int(feed.batch(index).targets.ne(0).sum()) for index in feed.order(rng))


def _dataset(data: Data, batch_size: int) -> Work:
    dataset = plain.WindowDataset(data.lists(longer_than=1), data.size.history)
    return lambda: sum(int(targets.ne(0).sum()) for _, targets in plain.epoch(dataset, batch_size))

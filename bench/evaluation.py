"""Evaluation: histories in, NDCG@10 over the whole vocabulary out, items already met left out."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from bench import plain
from bench.case import Case
from bench.pairs import Work
from bench.training import our_model, plain_model
from bench.workspace import Data
from userrep.sequences.protocol import Protocol


def cases(data: Data) -> Iterator[Case]:
    """Compare the ranking of the same users; then our way alone on more of them, for its memory."""
    size = data.size
    ours, theirs = partial(_count, data, size.ranked), partial(_sort, data, size.ranked)
    yield Case("evaluation", size.items, f"{size.ranked} users", ours, theirs, 2e-3, memory=True)
    if size.ranked_alone:
        alone, why = partial(_count, data, size.ranked_alone), f"{size.ranked_alone} users would take minutes"
        yield Case("evaluation", size.items, f"{size.ranked_alone} users, alone", alone, None, refusal=why, memory=True)


def _count(data: Data, users: int) -> Work:
    """Evaluate as a run does, metrics against 99 sampled items included; only users whose histories need no padding."""
    encoder, objective = our_model(data)
    encoder.eval()
    long = np.diff(data.prepared.sequences().offsets) > data.size.history
    chosen = long & (np.cumsum(long) <= users)
    protocol = Protocol(history=data.size.history)
    return lambda: objective.evaluate(encoder, data.prepared, protocol, "test", chosen).metrics()["ndcg@10"]


def _sort(data: Data, users: int) -> Work:
    model, sequences = plain_model(data), data.lists(longer_than=data.size.history, most=users)
    return lambda: plain.evaluate(model, sequences, data.size.history)["ndcg@10"]

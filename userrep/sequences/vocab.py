"""The numbering of items: reserved ids first, then items by how often they occur in training events.

A vocabulary is ordered once, when a data set is first prepared, and is append-only afterwards: an item that
turns up later gets the next free id, so that the order stops meaning popularity. Samplers therefore draw from
counts, never from the id.
"""

from dataclasses import dataclass

import numpy as np

PAD = 0
MASK = 1
RESERVED = 2  # the first id of an item


@dataclass(frozen=True)
class Vocabulary:
    """Raw ids in the order of their vocabulary ids, from RESERVED on, and their training `counts` int64."""

    item_ids: list[str]
    counts: np.ndarray

    @property
    def size(self) -> int:
        """Count all ids, reserved ones included: what an embedding table needs."""
        return RESERVED + len(self.item_ids)


def before_last_two(offsets: np.ndarray) -> np.ndarray:
    """Mark the events (E,) that order a vocabulary: all but each user's last two; under 3 events, all."""
    counts = np.diff(offsets)
    kept = np.where(counts >= 3, counts - 2, counts)
    position = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    return position < np.repeat(kept, counts)


def rank_items(codes: np.ndarray, training: np.ndarray, raw_ids: list[str]) -> tuple[np.ndarray, Vocabulary]:
    """Number the items of one domain: returns ids (E,) int32 and the vocabulary.

    codes (E,) index `raw_ids`, which is sorted; `training` (E,) marks the events that count.
    """
    ids, order, counts = ranked(np.bincount(codes[training], minlength=len(raw_ids)))
    return ids[codes], Vocabulary([raw_ids[index] for index in order], counts)


def ranked(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number items by their training events `counts (N,)`: their ids int32, their order by id, the counts in order.

    More frequent items come first and ties go by raw id, in whose order the counts come, so that neither the order of
    a file nor any later event moves an id.
    """
    order = np.argsort(-counts, kind="stable")
    ids = np.empty(len(counts), dtype=np.int32)
    ids[order] = np.arange(RESERVED, RESERVED + len(counts), dtype=np.int32)
    return ids, order, counts[order].astype(np.int64)

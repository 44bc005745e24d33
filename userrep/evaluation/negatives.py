"""Sampled negatives of an evaluation: the same for a user in every run, whatever the batch."""

import numpy as np

from userrep.sequences.vocab import RESERVED

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniform_negatives(
    keys: np.ndarray,
    targets: np.ndarray,
    vocab_size: int,
    count: int = 99,
    seed: int = 0,
    first: int = RESERVED,
) -> np.ndarray:
    """Draw `(N, count)` items uniformly with replacement, never the row's target.

    Row n depends on `seed` and `keys[n]` alone, so on no batch. Histories are not looked at: that is the
    common form, and it flatters. Report what comes of it under `@uni99` only.
    """
    others = vocab_size - first - 1
    if others < 1:
        return np.empty((len(keys), 0), dtype=np.int64)
    state = _mix(_mix(np.array([seed], dtype=np.uint64)) ^ keys.astype(np.uint64))
    words = _mix(state[:, None] + np.arange(count, dtype=np.uint64) * GOLDEN)  # (N, count)
    drawn = first + (words % np.uint64(others)).astype(np.int64)
    return drawn + (drawn >= targets[:, None])


def _mix(words: np.ndarray) -> np.ndarray:
    """Scramble 64-bit words (the finaliser of SplitMix64)."""
    words = words + GOLDEN
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))

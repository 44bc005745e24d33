"""How far a metric would move with other users: resampling, and the percentile interval that comes of it."""

from collections.abc import Iterator

import numpy as np

from userrep.evaluation.results import Result

DRAWS = 1_000
LEVEL = 0.95
CELLS = 2_000_000  # weights held at a time: 16 MB

Interval = tuple[float, float]


def resamples(count: int, draws: int, rng: np.random.Generator, cases: int = 0) -> Iterator[np.ndarray]:
    """Yield `draws` resamples with replacement in parts `(R, count)`: how often each unit occurs.

    `cases` is to how many the units will be spread out, where a unit has several: parts are then smaller.
    """
    step = max(1, CELLS // max(1, count, cases))
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        drawn = rng.integers(0, count, (rows, count)) + np.arange(rows)[:, None] * count
        yield np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


def bootstrap(result: Result, draws: int = DRAWS, seed: int = 0, level: float = LEVEL) -> dict[str, Interval]:
    """Return the percentile interval of every metric; users are drawn, with all their cases."""
    users, owner = np.unique(result.users, return_inverse=True)
    rng = np.random.default_rng(seed)
    parts = [result.resampled(weights[:, owner]) for weights in resamples(len(users), draws, rng, len(owner))]
    return {name: percentiles(np.concatenate([part[name] for part in parts]), level) for name in parts[0]}


def percentiles(draws: np.ndarray, level: float = LEVEL) -> Interval:
    """Return the middle `level` of `draws (R,)`, less those that are no number (a class was not drawn)."""
    if np.isnan(draws).all():
        return float("nan"), float("nan")
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

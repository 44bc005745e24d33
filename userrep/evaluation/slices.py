"""Where a model is good: the metrics of users apart by history length, and of cases by target popularity."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from userrep.evaluation.results import Metrics, Result

BUCKETS = 4


@dataclass(frozen=True)
class Slice:
    """The cases whose value of `by` lies in `[low, high]`, both ends included."""

    by: str
    low: int
    high: int
    cases: int
    metrics: Metrics

    def record(self) -> dict[str, Any]:
        """Return the slice as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Bucket:
    """The places `(N,)` whose values lie in `[low, high]`, both ends included."""

    low: int
    high: int
    members: np.ndarray


def slices(
    result: Result, by: str, values: np.ndarray, count: int = BUCKETS, starts: Sequence[int] | None = None
) -> list[Slice]:
    """Cut the cases into buckets of `values (N,)`: those that begin at `starts`, else at most `count` at quantiles."""
    return [
        Slice(by, bucket.low, bucket.high, int(bucket.members.sum()), result.subset(bucket.members).metrics())
        for bucket in buckets(values, count, starts)
    ]


def buckets(values: np.ndarray, count: int = BUCKETS, starts: Sequence[int] | None = None) -> Iterator[Bucket]:
    """Divide whole numbers `(N,)` into buckets, in order; those with nothing in them are left out.

    With `starts`, which ascend and of which the first is above no value, each ends before the next one's start, and the
    one without a next ends with the largest value. Else at most `count` are cut at the quantiles, equals together.
    """
    if starts is None:
        yield from _at_quantiles(values, count)
        return
    for low, end in pairwise([*starts, int(values.max()) + 1]):
        members = (values >= low) & (values < end)
        if members.any():
            yield Bucket(low, end - 1, members)


def _at_quantiles(values: np.ndarray, count: int) -> Iterator[Bucket]:
    inner = np.quantile(values, np.arange(1, count) / count, method="inverted_cdf")
    places = np.searchsorted(np.unique(inner), values, side="left")  # a bucket ends with its quantile
    for place in np.unique(places):
        members = places == place
        yield Bucket(int(values[members].min()), int(values[members].max()), members)

"""Where a model is good: the metrics of users apart by history length, and of cases by target popularity."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
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


def slices(result: Result, by: str, values: np.ndarray, count: int = BUCKETS) -> list[Slice]:
    """Cut the cases into at most `count` buckets at the quantiles of `values (N,)`, equals together."""
    return [
        Slice(by, low, high, int(mask.sum()), result.subset(mask).metrics())
        for low, high, mask in _buckets(values, count)
    ]


def _buckets(values: np.ndarray, count: int) -> Iterator[tuple[int, int, np.ndarray]]:
    inner = np.quantile(values, np.arange(1, count) / count, method="inverted_cdf")
    bucket = np.searchsorted(np.unique(inner), values, side="left")  # a bucket ends with its quantile
    for index in np.unique(bucket):
        mask = bucket == index
        yield int(values[mask].min()), int(values[mask].max()), mask

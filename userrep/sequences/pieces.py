"""Pieces of long arrays: some values, or the events of some users, at a time, so that memory stays small."""

import mmap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl

BINS = 1 << 16
PIECE = 1 << 21  # values, or events, that are looked at together


def pieces(values: np.ndarray, most: int = PIECE) -> Iterator[np.ndarray]:
    """Yield copies of at most `most` values after the other; pages of a mapped file are given back."""
    for begin in range(0, len(values), most):
        yield np.array(values[begin : begin + most])
        release(values)


def user_ranges(offsets: np.ndarray, most: int = PIECE) -> Iterator[tuple[int, int]]:
    """Yield ranges [begin, end) of user rows that have at most `most` events together, or are one user."""
    begin, last = 0, len(offsets) - 1
    while begin < last:
        fitting = int(np.searchsorted(offsets, offsets[begin] + most, side="right")) - 1
        end = max(begin + 1, min(fitting, last, begin + most))
        yield begin, end
        begin = end


def release(values: np.ndarray | None) -> None:
    """Give back the memory of a mapped file's pages, which are read again when they are touched."""
    base: object = values
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "base", None)
    if isinstance(base, mmap.mmap) and hasattr(base, "madvise"):
        base.madvise(mmap.MADV_DONTNEED)


def texts_of(values: "Sequence[str] | pl.Series", most: int = 1 << 18) -> Iterator[Sequence[str]]:
    """Yield lists of at most `most` texts after the other: text objects are many times the size of a column."""
    for begin in range(0, len(values), most):
        some = values[begin : begin + most]
        yield some if isinstance(some, (list, tuple)) else list(some)


def order_statistics(values: np.ndarray, places: Sequence[int]) -> list[int]:
    """Return what whole numbers would be at these places if they were sorted, without a sorted copy of them."""
    low = min(int(part.min()) for part in pieces(values))
    high = max(int(part.max()) for part in pieces(values))
    return [_order_statistic(values, place, low, high) for place in places]


def _order_statistic(values: np.ndarray, place: int, low: int, high: int) -> int:
    """Count the values in equal bins of [low, high], then look into the bin that holds the place."""
    while high > low:
        width = (high - low) // BINS + 1
        counts = np.zeros((high - low) // width + 1, dtype=np.int64)
        for part in pieces(values):
            inside = part[(part >= low) & (part <= high)]
            counts += np.bincount((inside - low) // width, minlength=len(counts))
        before = np.cumsum(counts)
        bin = int(np.searchsorted(before, place, side="right"))
        place -= int(before[bin - 1]) if bin else 0
        low, high = low + bin * width, min(high, low + (bin + 1) * width - 1)
    return low

"""Raw ids and their places in a sorted list of the different ones, found without comparing texts where it can be."""

import numpy as np
import polars as pl

from userrep.datasets.ids import LARGEST

LEAST = np.array([0, 0, *(10**digits for digits in range(1, LARGEST))])  # number of so many digits, by these
SPREAD = 4  # times as many numbers as ids are worth a table with a place for each number


def as_numbers(ids: pl.Series) -> pl.Series:
    """Return ids as numbers where all are whole, not negative and written without ornament; else as they are."""
    if ids.dtype.is_integer():
        return ids if ids.is_between(0, 10**LARGEST, closed="left").all() else ids.cast(pl.String)
    lengths = ids.str.len_bytes()
    if ids.is_empty() or not str(ids[0]).isdecimal() or int(lengths.max()) > LARGEST:  # type: ignore
        return ids
    numbers = ids.cast(pl.Int64, strict=False)
    # A sign or a zero before it makes a number smaller than others of so many characters.
    if numbers.null_count() or (numbers.to_numpy() < LEAST[lengths.to_numpy()]).any():
        return ids
    return numbers


def coded(ids: pl.Series, *, by_length: bool) -> tuple[pl.Series, np.ndarray]:
    """Return the different ids in order, and the place of each id `(E,)` among them, int64.

    Ids are texts or whole numbers that stand for their texts; the order is that of the texts, or of (length, text).
    """
    known, codes = _numbers(ids.to_numpy()) if ids.dtype.is_integer() else _texts(ids)
    texts = known.cast(pl.String)
    if by_length and known.dtype.is_integer():  # in order of size, which is that of (length, text)
        return known, codes
    by = [pl.col("id").str.len_bytes(), "id"] if by_length else ["id"]
    order = texts.to_frame("id").with_row_index("place").sort(*by)["place"].to_numpy()
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    return known.gather(order), places[codes]


def _numbers(ids: np.ndarray) -> tuple[pl.Series, np.ndarray]:
    """Look numbers that lie close together up in a table; sort others."""
    if len(ids) and ids.max() < SPREAD * len(ids):
        occurs = np.zeros(int(ids.max()) + 1, dtype=bool)
        occurs[ids] = True
        return pl.Series(np.flatnonzero(occurs)), (np.cumsum(occurs) - 1)[ids]
    known, codes = np.unique(ids, return_inverse=True)
    return pl.Series(known), codes.astype(np.int64)


def _texts(ids: pl.Series) -> tuple[pl.Series, np.ndarray]:
    """Sort the hashes of texts in place of the texts, and see that no two texts share one."""
    _, first, codes = np.unique(ids.hash(0).to_numpy(), return_index=True, return_inverse=True)
    known = ids.gather(first)
    if (known.gather(codes) == ids).all():
        return known, codes.astype(np.int64)
    known = ids.unique()
    return known, ids.cast(pl.Enum(known)).to_physical().cast(pl.Int64).to_numpy()

"""Raw ids as text, or as whole numbers that stand for the text they are written as."""

from collections.abc import Sequence

import numpy as np
import polars as pl

LARGEST = 18  # digits of an id that is kept as a number


def written_bytes(values: pl.Series) -> int:
    """Return the length of all values together, in bytes, as they are written: texts, or whole numbers; null is 0."""
    if not values.dtype.is_integer():
        return int(values.str.len_bytes().sum())
    values = values.drop_nulls()
    if values.is_empty():
        return 0
    numbers = values.to_numpy()
    if numbers.min() < 0:
        return int(values.cast(pl.String).str.len_bytes().sum())
    shortest, longest = len(str(numbers.min())), len(str(numbers.max()))
    longer = (int(np.count_nonzero(numbers >= 10**digits)) for digits in range(shortest, longest))
    return len(numbers) * shortest + sum(longer)


def alike(frames: Sequence[pl.DataFrame], names: Sequence[str]) -> list[pl.DataFrame]:
    """Return frames that can be joined: the ids in a column of `names` are text in all if they are in one."""
    mixed = [name for name in names if any(frame.schema[name] == pl.String for frame in frames)]
    return [frame.with_columns(pl.col(name).cast(pl.String) for name in mixed) for frame in frames]


def hashed(ids: pl.Series) -> pl.Series:
    """Hash ids, a number as the text it is written as."""
    if ids.dtype.is_integer():
        return ids.hash(0)
    numbers = ids.cast(pl.Int64, strict=False)
    same = (numbers.cast(pl.String) == ids).fill_null(False)
    return ids.hash(0) if not same.any() else numbers.hash(0).zip_with(same, ids.hash(0))

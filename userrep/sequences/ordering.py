"""The order of events: by user and time, without copies, ties as in the file or at random."""

import numpy as np
import polars as pl

NO_TIME = np.iinfo(np.int64).min  # comes first, as missing times do


def ordered(events: pl.DataFrame) -> pl.DataFrame:
    """Sort events that are in order of row by (user, time, row); missing times come first."""
    users, first = events["user"].to_numpy(), events["time"].min()
    before = 0 if first is None else max(int(first) - 1, NO_TIME)  # type: ignore[arg-type]
    times = events["time"].fill_null(before).to_numpy()
    later = times[1:] >= times[:-1]
    if ((users[1:] > users[:-1]) | ((users[1:] == users[:-1]) & later)).all():
        return events
    if later.all():
        return _moved(events, stable_order(users))
    by_time = stable_order(times)
    return _moved(events, by_time[stable_order(users[by_time])])


def stable_order(values: np.ndarray) -> np.ndarray:
    """Return the places `(E,)` of whole numbers by value, equal ones by place: a stable argsort, but quicker.

    A value and its place are one number where it fits, and numbers alone are sorted by vector instructions.
    """
    if (values[1:] >= values[:-1]).all():
        return np.arange(len(values))
    least, bits = int(values.min()), len(values).bit_length()
    if (int(values.max()) - least + 1) << bits >= 2**63:
        return np.argsort(values, kind="stable")
    keys = np.subtract(values, least, dtype=np.int64) << bits
    keys |= np.arange(len(values))
    keys.sort()
    keys &= (1 << bits) - 1
    return keys


def _moved(events: pl.DataFrame, places: np.ndarray) -> pl.DataFrame:
    """Put the events at `places` in their order; a column of one value stays as it is."""
    moving = [name for name in events.columns if not _is_constant(events[name])]
    return events.with_columns(events.select(moving)[places])


def _is_constant(values: pl.Series) -> bool:
    """Say whether all values are known to be one; of floats that is not asked, as NaN is in no minimum."""
    if values.null_count():
        return values.null_count() == len(values)
    return values.dtype.is_integer() and values.min() == values.max()


def merge_duplicates(events: pl.DataFrame, repeats: str) -> pl.DataFrame:
    """Keep the first of equal events: of one user and item, and of one time too where repeats are meant."""
    domains, items = events.select(pl.col("domain").max() + 1, pl.col("item").max() + 1).row(0)
    meeting = (pl.col("user") * domains + pl.col("domain")) * items + pl.col("item")  # one number, quicker than three
    if repeats == "merge":
        return events.filter(meeting.is_first_distinct())
    same = (pl.col("user") == pl.col("user").shift()) & (pl.col("time") == pl.col("time").shift())
    tied = events.select(same.fill_null(False)).to_series().to_numpy()
    near = np.flatnonzero(tied | np.append(tied[1:], False))  # only among these can there be copies
    kept = np.ones(len(events), dtype=bool)
    kept[near] = events[near].select(pl.struct(meeting.alias("meeting"), "time").is_first_distinct()).to_series()
    return events.filter(kept)


def shuffle_ties(events: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Order the events of one user and time at random, whatever their order in the file was.

    `events` are ordered. One generator orders them as a whole or, taken on from piece to piece, piece by piece of
    whole users, with the same outcome.
    """
    canonical = events.sort("user", "time", "domain", "item", maintain_order=True)
    draws = rng.random(len(canonical))
    return canonical.with_columns(draw=pl.Series(draws)).sort("user", "time", "draw").drop("draw")

"""Generated events: a csv with popular and rare items and long and short users, another of labels of the users."""

from pathlib import Path

import numpy as np
import polars as pl

START = 1_000_000_000


def write_events(path: Path, users: int, items: int, events: int, text_ids: bool, seed: int = 0) -> None:
    """Write `user,item,time` in the order of time; a user has 5 events or more, item k about 1 / (k + 10) of them.

    Ids are numbers, as in MovieLens, or text, as in most other data sets.
    """
    rng = np.random.default_rng(seed)
    lengths = 5 + rng.multinomial(events - 5 * users, rng.dirichlet(np.full(users, 1.5)))
    owner = np.repeat(np.arange(users), lengths)
    popularity = np.cumsum(1 / (np.arange(items) + 10))
    drawn = np.searchsorted(popularity, rng.random(events) * popularity[-1])
    drawn[rng.permutation(events)[:items]] = np.arange(items)
    names = rng.permutation(items)  # so that an id says nothing of popularity
    time = START + rng.integers(0, 10**8, size=events)
    frame = pl.DataFrame({"user": owner + 1, "item": names[drawn] + 1, "time": time})
    if text_ids:
        frame = frame.with_columns(user=pl.format("U{}X", "user"), item=pl.format("B{}", "item"))
    frame.sort("time").write_csv(path)


def write_users(path: Path, users: int, text_ids: bool, classes: int = 3, seed: int = 1) -> None:
    """Write `user,kind`, a label drawn at random."""
    frame = pl.DataFrame(
        {"user": np.arange(users) + 1, "kind": np.random.default_rng(seed).integers(classes, size=users)}
    )
    if text_ids:
        frame = frame.with_columns(user=pl.format("U{}X", "user"))
    frame.write_csv(path)

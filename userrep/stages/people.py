"""The people whom a run is asked about: known users by their raw ids, or new ones by their events."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from userrep import console
from userrep.datasets.rows import glance, read_rows
from userrep.datasets.times import guess_unit, to_ticks
from userrep.errors import DataError
from userrep.evaluation.ranking import Csr
from userrep.sequences.store import Prepared, Sequences
from userrep.sequences.vocab import RESERVED

NAMED = 3  # of those who are left out, in a sentence


@dataclass(frozen=True)
class People:
    """Users by name, what their vectors are read from, what they have met of the ranked items, and who was left out.

    `unknown_users` are in no prepared data, `without_items` have no event of a known item; `unknown_items` counts
    events of items that the run does not know.
    """

    names: list[str]
    histories: Csr
    seen: Csr
    unknown_users: list[str]
    without_items: list[str]
    unknown_items: int = 0

    def __len__(self) -> int:
        return len(self.names)


def known_people(path: Path, data: Prepared, inputs: Sequences, targets: Sequences) -> People:
    """Find the users of a file among those of the data set, each with all events that it holds.

    Raises:
        DataError: the file cannot be read, names nobody, or nobody whom the data set knows.
    """
    asked = list(dict.fromkeys(_names(path)))
    rows = {name: row for row, name in enumerate(data.user_ids)}
    found = np.array([rows[name] for name in asked if name in rows], dtype=np.int64)
    unknown = [name for name in asked if name not in rows]
    if len(found) == 0:
        raise DataError(
            f"{data.name} knows none of the {len(asked):,} users of {path}, such as {asked[0]!r}",
            "give their events: userrep recommend RUN --events FILE",
        )
    filled = inputs.offsets[found + 1] > inputs.offsets[found]
    without = [data.user_ids[row] for row in found[~filled]]
    kept = found[filled]
    read, met = (Csr(part.items, part.offsets[kept], part.offsets[kept + 1]) for part in (inputs, targets))
    return People([data.user_ids[row] for row in kept], read, met, unknown, without)


def _names(path: Path) -> list[str]:
    """Read the column `user` of a table, or the lines of a .txt file."""
    if path.suffix == ".txt":
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read {path}: {error}", "give a file with a user id a line") from error
        names = [line for line in lines if line]
        names = names[1:] if names[:1] == ["user"] else names
    else:
        names = _rows(path, ["user"])["user"].to_list()
    if not names:
        raise DataError(f"{path} names no user", "give a user id a line, or a table with the column user")
    return names


def new_people(path: Path, inputs: Sequences, targets: Sequences) -> People:
    """Read users from a table of their events: columns user, item and, where there is one, time.

    Without times the order of the rows counts. Raises DataError where the file cannot be read, or no item is known.
    """
    columns = ["user", "item", *(["time"] if "time" in glance(path).columns else [])]
    frame = _rows(path, columns)
    if "time" in columns:
        frame = frame.with_columns(_ticks(path, frame)).sort("time", maintain_order=True)
    ours, theirs = _numbers(inputs), _numbers(targets)
    names, owner = np.unique(frame["user"].to_numpy().astype(str), return_inverse=True)
    raw = frame["item"].to_list()
    read = np.array([ours.get(item, -1) for item in raw], dtype=np.int64)
    met = read if targets is inputs else np.array([_met(item, ours, theirs) for item in raw], dtype=np.int64)
    unknown = int(((read < 0) & (met < 0)).sum())
    history, seen = (_grouped(owner, ids, len(names)) for ids in (read, met))
    filled = history.ends > history.starts
    if not filled.any():
        raise DataError(
            f"of the {len(raw):,} events of {path}, none is of an item that the run reads, such as {raw[0]!r}",
            "give raw item ids as the data set has them: see items.parquet of the prepared data",
        )
    kept = [Csr(part.items, part.starts[filled], part.ends[filled]) for part in (history, seen)]
    return People(names[filled].tolist(), kept[0], kept[1], [], names[~filled].tolist(), unknown)


def rows_of(names: Sequence[str]) -> pl.DataFrame:
    """Return a row a name: the user and, where some user has several, which of the user's cases it is."""
    users = pl.DataFrame({"user": pl.Series(names, dtype=pl.String)})
    if not users["user"].is_duplicated().any():
        return users
    return users.with_columns(pl.int_range(pl.len()).over("user").alias("case"))


def tell_left_out(people: People) -> None:
    """Warn of users and events that could not be read."""
    for names, what in ((people.unknown_users, "not in the data"), (people.without_items, "no known item")):
        if names:
            more = ", ..." if len(names) > NAMED else ""
            console.warn(f"left out, {what}: {len(names):,} user(s), {', '.join(names[:NAMED])}{more}")
    if people.unknown_items:
        console.warn(f"left out: {people.unknown_items:,} event(s) of items that the run does not know")


def _met(item: str, ours: dict[str, int], theirs: dict[str, int]) -> int:
    """Number an item of the target domain; an id that the source has too means the source's item."""
    return -1 if item in ours and theirs.get(item) != ours[item] else theirs.get(item, -1)


def _numbers(sequences: Sequences) -> dict[str, int]:
    """Return the vocabulary id of each raw id, of the first where two domains have it."""
    numbered = list(enumerate(sequences.item_ids, RESERVED))
    return {raw: number for number, raw in reversed(numbered)}


def _grouped(owner: np.ndarray, ids: np.ndarray, count: int) -> Csr:
    """Group known ids by owner, order within an owner kept."""
    known = ids >= 0
    order = np.argsort(owner[known], kind="stable")
    bounds = np.concatenate([[0], np.cumsum(np.bincount(owner[known], minlength=count))])
    return Csr(ids[known][order].astype(np.int32), bounds[:-1], bounds[1:])


def _ticks(path: Path, frame: pl.DataFrame) -> pl.Series:
    """Read times as numbers, whatever their unit, or as dates."""
    found = to_ticks(frame["time"], guess_unit(frame["time"]))
    if found.null_count():
        found = to_ticks(frame["time"], "text")
    if found.null_count():
        line = frame["line"].filter(found.is_null())[0]
        cause = f"{path}, line {line}: the time is neither a number nor a date"
        raise DataError(cause, "correct it, or leave the column out")
    return found.alias("time")


def _rows(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Read columns as text; every row must have all of them."""
    frame, faults = read_rows(path, columns)
    for column in columns:
        faults.add(frame, pl.col(column).is_null(), pl.lit(f"there is no {column}"))
    return faults.settle(frame, skip=False, flag="")

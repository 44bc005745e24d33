"""One share: all events of some users, in memory once, then on disk in order of user and time."""

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from userrep.files import read_json
from userrep.sequences.coding import coded
from userrep.sequences.ordering import NO_TIME, merge_duplicates, ordered
from userrep.sequences.scatter import empty_folder, finish, read_record, read_share

RECORD = "share.json"
KINDS = {"item": "<i4", "code": "<i4", "domain": "<u2", "time": "<i8", "rating": "<f4"}  # values a file holds


def sort_share(parts: list[Path], code: int, target: Path, domains: list[str], repeats: str) -> None:
    """Put the events of one share, divided over `parts`, in order and merge its duplicates, into a folder `target`.

    Nothing is done where the folder is there.
    """
    if read_record(target, RECORD) is not None:
        return
    frame, temporary = read_share(parts, code), empty_folder(target)
    record = {"users": 0, "events": 0, "duplicates": 0}
    finish(temporary, target, RECORD, record if frame.is_empty() else _write(frame, temporary, domains, repeats))


def _write(frame: pl.DataFrame, folder: Path, domains: list[str], repeats: str) -> dict[str, int]:
    """Write the files of a share, and return its counts."""
    users, user = coded(frame["user"], by_length=True)
    items, item = coded(frame["item"], by_length=False)
    given = frame.height
    events = frame.select(
        "fine",
        "time",
        "rating",
        pl.col("domain").cast(pl.Enum(domains)).to_physical().cast(pl.Int64),
        user=pl.Series(user),
        item=pl.Series(item),
    )
    del frame, user, item
    if (events["fine"] != 0).any():
        events = events.sort("fine", maintain_order=True)
    events = merge_duplicates(ordered(events.drop("fine")), repeats)
    counts = np.bincount(events["user"].to_numpy(), minlength=len(users))
    pl.DataFrame({"user": users, "events": pl.Series(counts, dtype=pl.UInt32)}).write_ipc(folder / "users.arrow")
    pl.DataFrame({"item": items}).write_ipc(folder / "items.arrow")
    columns = {"item": events["item"], "domain": events["domain"]}
    for name, missing in (("time", NO_TIME), ("rating", np.nan)):
        if events[name].null_count() < len(events):
            columns[name] = events[name].fill_null(missing)
    for name, values in columns.items():
        values.to_numpy().astype(KINDS[name]).tofile(folder / f"{name}.bin")
    return {"users": len(users), "events": len(events), "duplicates": given - len(events)}


@dataclass(frozen=True)
class Share:
    """A share on disk, in order; its columns are read as far as they are asked for."""

    path: Path

    @cached_property
    def record(self) -> dict[str, Any]:
        """Counts of users, events and duplicates."""
        return read_json(self.path / RECORD)

    def users(self) -> pl.DataFrame:
        """Return columns user (numbers where all are) and events, in order of the users."""
        return pl.read_ipc(self.path / "users.arrow")

    def items(self) -> pl.Series:
        """Return the different items as text; a value of the column `item` is a place in it."""
        return pl.read_ipc(self.path / "items.arrow")["item"].cast(pl.String)

    def has(self, column: str) -> bool:
        """Say whether any event has a time or a rating."""
        return (self.path / f"{column}.bin").exists()

    def read(self, column: str, begin: int = 0, count: int = -1) -> np.ndarray:
        """Read some values of a column, by default all."""
        kind = np.dtype(KINDS[column])
        return np.fromfile(self.path / f"{column}.bin", dtype=kind, count=count, offset=begin * kind.itemsize)

    def write(self, column: str, values: np.ndarray) -> None:
        """Write a column."""
        values.astype(KINDS[column]).tofile(self.path / f"{column}.bin")

    def owners(self) -> np.ndarray:
        """Return the place of each event's user among those of the share, (E,) int32."""
        counts = self.users()["events"].to_numpy()
        return np.repeat(np.arange(len(counts), dtype=np.int32), counts)

    def only(self, keep: np.ndarray) -> "Share":
        """Write the events that `keep` (E,) marks as a share beside this one; users stay, some with no events."""
        folder, temporary = self.path / "kept", empty_folder(self.path / "kept")
        shutil.rmtree(folder, ignore_errors=True)
        users = self.users()
        counts = np.bincount(self.owners()[keep], minlength=len(users))
        users.with_columns(events=pl.Series(counts, dtype=pl.UInt32)).write_ipc(temporary / "users.arrow")
        for column in KINDS:
            if self.has(column):
                self.read(column)[keep].tofile(temporary / f"{column}.bin")
        finish(temporary, folder, RECORD, {"users": int(np.sum(counts > 0)), "events": int(keep.sum())})
        return Share(folder)

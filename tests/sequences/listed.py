"""A data set of events written down in a test."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from userrep.datasets.dataset import Dataset, Events
from userrep.sequences.prepare import prepare
from userrep.sequences.store import Prepared

Event = tuple[str, str, int | None]  # user, item, time


@dataclass(kw_only=True)
class Listed(Dataset):
    """Events (user, item, time), with a rating of 1 and the domain `main` unless `domains` says otherwise."""

    name: str = "listed"
    listed: list[Event] = field(default_factory=list)
    domains: list[str] | None = None
    known: dict[str, list[str | None]] = field(default_factory=dict)

    def events(self, raw_dir: Path) -> Events:
        schema = {"user": pl.String, "item": pl.String, "time": pl.Int64}
        frame = pl.DataFrame(self.listed, schema, orient="row").with_columns(
            rating=pl.lit(1.0),
            domain=pl.Series(self.domains or ["main"] * len(self.listed)),
            row=pl.int_range(pl.len()),
        )
        users = pl.DataFrame(self.known or {"user": []}, schema=dict.fromkeys(self.known or ["user"], pl.String))
        texts = frame.select("item", text=pl.lit("about ") + pl.col("item")).unique()
        return Events(frame.lazy(), users, texts)


def user_of(name: str, items: str, times: list[int | None] | None = None) -> list[Event]:
    """List a user's events, one letter an item, at times 0, 1, 2 ... unless given."""
    return [(name, item, time) for item, time in zip(items, times or range(len(items)), strict=True)]


def prepared_from(folder: Path, events: list[Event], split_file: Path | None = None, **options: Any) -> Prepared:
    """Prepare listed events in a folder."""
    dataset = Listed(listed=events, **options)
    return prepare(dataset, {"name": dataset.name}, folder / "raw", folder / "prepared", split_file)


def items_of(prepared: Prepared, user: str, domain: str | None = None) -> list[str]:
    """Return the raw ids of a user's events in order."""
    sequences = prepared.sequences(domain)
    row = prepared.user_ids.index(user)
    ids = sequences.items[sequences.offsets[row] : sequences.offsets[row + 1]]
    return [sequences.item_ids[index - 2] for index in ids]

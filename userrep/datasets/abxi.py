"""ABXI's files: one user a line as `index item|seconds item|seconds ...`, the events of two domains in one order.

Source: DiMarzioBian/ABXI (WWW 2025), data/*/.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from userrep.datasets.dataset import Dataset, Events, main_first
from userrep.datasets.lines import AGAIN, NO_TEXT, NOBODY, find_file, open_text, parsed, read_lines, refuse_lines
from userrep.errors import ConfigError, DataError


@dataclass(kw_only=True)
class Abxi(Dataset):
    """Sequences with times, whose maps give the raw id behind each index, and each item's domain.

    sequences, items and users name the files, packed with gzip or not: the lines; {raw id: [index, domain]};
    {raw id: index}. Where `users` is missing, an index stays the id of its user. domains names the domains 0, 1,
    ...; main is the one that an encoder reads.
    """

    sequences: str = ""
    items: str = ""
    users: str = ""
    domains: list[str] = field(default_factory=list)
    main: str = ""

    def __post_init__(self) -> None:
        if self.main not in self.domains:
            known = ", ".join(self.domains) or "there are none"
            raise ConfigError(f"dataset.main is {self.main!r}", f"name one of the domains: {known}")

    def events(self, raw_dir: Path) -> Events:
        path = find_file(raw_dir, self.sequences)
        pairs = _pairs(path)
        known = self._items(find_file(raw_dir, self.items))
        named = pairs.join(known, on="index", how="left", maintain_order="left")
        lost = named.lazy().filter(pl.col("item").is_null())
        refuse_lines(path, lost.select("line", fault=pl.format(f"item {{}} is not in {self.items}", "index")))
        frame = self._with_users(named, path, raw_dir).select(
            "user", "item", "time", pl.lit(None, pl.Float32).alias("rating"), "domain", row=pl.int_range(pl.len())
        )
        return Events(main_first(frame, self.main).lazy(), NOBODY, NO_TEXT)

    def _items(self, path: Path) -> pl.DataFrame:
        """Read columns item, index and domain of the map of items."""
        table = _read_map(path)
        try:
            rows = [(raw, int(index), self.domains[int(domain)]) for raw, (index, domain) in table.items()]
        except (AttributeError, TypeError, ValueError, IndexError) as error:
            hint = f"it must map raw ids to [index, domain], with domains 0 to {len(self.domains) - 1}"
            raise DataError(f"{path} is no map of items ({error})", hint) from error
        kinds = {"item": pl.String, "index": pl.Int64, "domain": pl.String}
        return _unique(pl.DataFrame(rows, kinds, orient="row"), path)

    def _with_users(self, events: pl.DataFrame, path: Path, raw_dir: Path) -> pl.DataFrame:
        """Add the column user: the raw id where there is a map of users, else the index."""
        try:
            map_path = find_file(raw_dir, self.users)
        except DataError:
            return events.with_columns(user=pl.col("number").cast(pl.String))
        table = _read_map(map_path)
        if not isinstance(table, dict) or not all(type(index) is int for index in table.values()):
            raise DataError(f"{map_path} is no map of users", "it must map raw ids to an index")
        users = _unique(pl.DataFrame({"user": list(table), "index": list(table.values())}), map_path)
        named = events.join(users, left_on="number", right_on="index", how="left", maintain_order="left")
        lost = named.lazy().filter(pl.col("user").is_null())
        refuse_lines(path, lost.select("line", fault=pl.format(f"user {{}} is not in {self.users}", "number")))
        return named


def _pairs(path: Path) -> pl.DataFrame:
    """Read columns line, number (of the user), index (of the item) and time, in the order of the file."""
    lines = read_lines(path).select("line", field=pl.col("text").str.split(" ")).collect()
    numbers = parsed(lines.select("line", number=pl.col("field").list.first()), "number", pl.Int64, path)
    twice = numbers.lazy().filter(pl.col("number").is_duplicated())
    refuse_lines(path, twice.select("line", fault=pl.format("user {} has a line already", "number")))
    fields = lines.with_columns(numbers["number"], pl.col("field").list.slice(1)).explode("field", empty_as_null=True)
    halves = pl.col("field").str.split_exact("|", 1).struct.rename_fields(["index", "time"])
    odd = fields.lazy().filter(pl.col("field").str.count_matches("|", literal=True).fill_null(0) != 1)
    fault = pl.format("{} is no item|seconds", pl.col("field").fill_null("nothing"))
    refuse_lines(path, odd.select("line", fault=fault))
    split = fields.with_columns(halves.struct.unnest())
    return parsed(parsed(split, "index", pl.Int64, path), "time", pl.Int64, path).drop("field")


def _read_map(path: Path) -> Any:
    with open_text(path) as file:
        try:
            return json.load(file)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} is no JSON: {error}", AGAIN) from error


def _unique(table: pl.DataFrame, path: Path) -> pl.DataFrame:
    twice = table.filter(pl.col("index").is_duplicated())
    if not twice.is_empty():
        raise DataError(f"{path} gives the index {twice['index'][0]} twice", AGAIN)
    return table

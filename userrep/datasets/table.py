"""Events from a table of your own, in whatever file, its columns named in the config."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from userrep.datasets.blocks import Place
from userrep.datasets.dataset import Events, Part, PartwiseDataset, main_first
from userrep.datasets.faults import Faults, Tally
from userrep.datasets.ids import alike
from userrep.datasets.lines import NO_TEXT, NOBODY, find_file
from userrep.datasets.many_files import event_files, found_files
from userrep.datasets.rows import BLOCK, SEPARATORS, read_rows, row_chunks
from userrep.datasets.times import to_ticks
from userrep.errors import DataError

TICKS = 1_000_000  # a second
Unit = Literal["seconds", "milliseconds", "microseconds", "nanoseconds", "days", "text"]


@dataclass(kw_only=True)
class Table(PartwiseDataset):
    """Files of one event a row: csv or tsv with a header (.gz or not), parquet, or .jsonl with an object a line.

    path is a file, a folder of such files, or a pattern as events/*.csv.gz; several are read in order of their names.
    Paths are relative to the current folder, or to the raw files of a data set that has sources. time, rating
    and domain name columns, or are None where there is none: without times, the order of the rows counts.
    time_unit says what a time is: "seconds" to "nanoseconds" since 1970, "days" as 20240131, or "text" as ISO 8601;
    what is finer than a second orders events, and is dropped. main names the domain that an encoder reads, the
    first event's where it is None.

    users_path is a file with the column `user` (or users_key) and one column a label; a user that it leaves out,
    and an empty field, has no label. items_path is one with the column `item` (or items_key) and a text.

    columns names the columns of a file without a header. The separator is a comma, a tab for .tsv files, or what
    parts the header into most fields, unless given; quote is None where quotes are part of the text, as they are
    beside a separator of several characters. A broken row is an error that names it; with skip_bad, such rows are
    counted and left out.
    """

    path: str = ""
    user: str = "user"
    item: str = "item"
    time: str | None = "time"
    rating: str | None = None
    domain: str | None = None
    users_path: str | None = None
    users_key: str | None = None
    items_path: str | None = None
    items_key: str | None = None
    items_text: str = "title"
    separator: str | None = None
    quote: str | None = '"'
    columns: list[str] = field(default_factory=list)
    time_unit: Unit = "seconds"

    def raw_files(self, raw_dir: Path) -> list[Path]:
        sides = [path for path in (self.users_path, self.items_path) if path]
        if not self.sources:
            events = found_files(Path(self.path)) or [Path(self.path)] if self.path else []
            return [*events, *map(Path, sides)]
        named = [self.path, *sides] if self.path else sides
        return [path for name in named for path in (raw_dir / name, raw_dir / f"{name}.gz") if path.is_file()]

    @property
    def origin(self) -> str:
        return f"it is read from {self.path}" if self.path else "it is a file of your own, dataset.path=FILE"

    def events(self, raw_dir: Path) -> Events:
        self.left_out, frames, domains = 0, [], dict[str, str]()
        for path in self.event_files(raw_dir):
            tally = Tally(path)
            for part in self.parts(path, BLOCK):
                frames.append(part.frame)
                domains |= part.domains
                tally.unit = part.tally.unit
                tally.merge(part.tally)
            self.refuse_domains(domains)
            tally.settle(skip=self.skip_bad)
            self.left_out += tally.broken
        frame = _numbered(pl.concat(alike(frames, ("user", "item"))))
        if self.main is not None:
            frame = main_first(frame, self.main)
        typed = frame.select("user", "item", "time", "rating", "domain", "row")
        return Events(typed.lazy(), *self.sides(raw_dir))

    def event_files(self, raw_dir: Path) -> list[Path]:
        if not self.path:
            raise DataError(
                f"the data set {self.name!r} has no file",
                "name it: dataset.path=events.csv dataset.name=mine",
            )
        return [find_file(raw_dir, self.path)] if self.sources else event_files(Path(self.path))

    def parts(self, path: Path, size: int, begin: Place | None = None) -> Iterator[Part]:
        fields = {"user": self.user, "item": self.item, "time": self.time, "rating": self.rating, "domain": self.domain}
        named = {key: name for key, name in fields.items() if name}
        columns = list(dict.fromkeys(named.values()))
        numbers = {self.user, self.item, self.time} - {self.domain, self.rating}
        how = {"separator": self.separator, "quote": self.quote, "header": self.columns, "begin": begin}
        for chunk in row_chunks(path, columns, size, numbers=numbers, **how):  # type: ignore[arg-type]
            faults = chunk.faults
            frame = chunk.rows.select("line", **{key: pl.col(name) for key, name in named.items()})
            for key in ("user", "item", "time", "domain"):
                if key in named:
                    faults.add(frame, pl.col(key).is_null(), pl.lit(f"there is no {named[key]}"))
            frame, domains = _with_domains(_with_ratings(self._with_times(frame, faults), faults), faults)
            lines, tally = faults.lines, Tally(path, faults.unit)
            if not lines.is_empty():
                frame = frame.join(lines, on="line", how="anti", maintain_order="left")
            tally.add(len(frame), lines)
            typed = frame.select("user", "item", "time", "rating", "domain", "fine")
            yield Part(typed, domains, tally, chunk.end, chunk.last)

    def sides(self, raw_dir: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
        return self._users(raw_dir), self._texts(raw_dir)

    def _place(self, raw_dir: Path, path: str) -> Path:
        return find_file(raw_dir, path) if self.sources else Path(path)

    def _with_times(self, frame: pl.DataFrame, faults: Faults) -> pl.DataFrame:
        """Turn the texts or numbers of `time` into whole seconds, and `fine`, the microseconds above them."""
        if "time" not in frame.columns:
            return frame.with_columns(time=pl.lit(None, pl.Int64), fine=pl.lit(0, pl.Int32))
        frame = frame.with_columns(to_ticks(frame["time"], self.time_unit).alias("ticks"))
        wanted = {"text": "date or time as in 2024-01-31T10:00:00", "days": "day as in 20240131"}
        fault = pl.format(f"{self.time} is '{{}}', not a {wanted.get(self.time_unit, 'number')}", "time")
        faults.add(frame, pl.col("ticks").is_null() & pl.col("time").is_not_null(), fault)
        return frame.with_columns(time=pl.col("ticks") // TICKS, fine=(pl.col("ticks") % TICKS).cast(pl.Int32))

    def _users(self, raw_dir: Path) -> pl.DataFrame:
        if self.users_path is None:
            return NOBODY
        fields = {"user": self.users_key or self.user} | {label: label for label in self.labels}
        return self._side(self._place(raw_dir, self.users_path), fields, "user").drop("line")

    def _texts(self, raw_dir: Path) -> pl.DataFrame:
        if self.items_path is None:
            return NO_TEXT
        fields = {"item": self.items_key or self.item, "text": self.items_text}
        rows = self._side(self._place(raw_dir, self.items_path), fields, "item")
        return rows.drop_nulls("text").unique("item", keep="first", maintain_order=True).select("item", "text")

    def _side(self, path: Path, fields: Mapping[str, str], key: str) -> pl.DataFrame:
        frame, faults = self._read(path, fields)
        faults.add(frame, pl.col(key).is_null(), pl.lit(f"there is no {fields[key]}"))
        return faults.settle(frame, skip=self.skip_bad)

    def _read(self, path: Path, fields: Mapping[str, str]) -> tuple[pl.DataFrame, Faults]:
        """Read the columns named by the values of `fields` as text, under its keys, and `line`."""
        names = list(dict.fromkeys(fields.values()))
        guessed = self.separator is None or self.separator in SEPARATORS  # each file may have another of these
        frame, faults = read_rows(path, names, separator=None if guessed else self.separator, quote=self.quote)
        return frame.select("line", **{key: pl.col(name) for key, name in fields.items()}), faults


def _with_ratings(frame: pl.DataFrame, faults: Faults) -> pl.DataFrame:
    """Turn the texts of `rating` into numbers; an event may have none."""
    if "rating" not in frame.columns:
        return frame.with_columns(rating=pl.lit(None, pl.Float32))
    found = frame["rating"].str.strip_chars().cast(pl.Float32, strict=False).alias("number")
    frame = frame.with_columns(found)
    bad = pl.col("rating").is_not_null() & ~pl.col("number").is_finite().fill_null(False)
    faults.add(frame, bad, pl.format("rating is '{}', not a number", "rating"))
    return frame.with_columns(rating="number").drop("number")


def _with_domains(frame: pl.DataFrame, faults: Faults) -> tuple[pl.DataFrame, dict[str, str]]:
    """Turn the texts of `domain` into names of folders: what is neither letter, digit, `-`, `_` nor `.` is `_`.

    Also returns these names by the texts, in order of appearance.
    """
    if "domain" not in frame.columns:
        return frame.with_columns(domain=pl.lit("main")), {"main": "main"}
    given = frame["domain"].unique(maintain_order=True).drop_nulls()
    plain = given.str.replace_all(r"[^\w.-]+", "_").str.strip_chars("_.-")
    frame = frame.with_columns(named=pl.col("domain").replace_strict(given, plain, default=None))
    faults.add(frame, pl.col("named") == "", pl.format("'{}' is no name of a domain", "domain"))
    known = dict(zip(given.to_list(), plain.to_list(), strict=True))
    return frame.with_columns(domain="named").drop("named"), known


def _numbered(frame: pl.DataFrame) -> pl.DataFrame:
    """Number the rows as in the file, or by times finer than a second, which would be lost otherwise."""
    if not (frame["fine"] != 0).any():
        return frame.with_columns(row=pl.int_range(pl.len()))
    row = np.empty(len(frame), dtype=np.int64)
    row[np.lexsort((frame["fine"].to_numpy(), frame["time"].to_numpy()))] = np.arange(len(frame))
    return frame.with_columns(row=pl.Series(row))

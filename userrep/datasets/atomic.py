"""RecBole's atomic files: tab-separated text whose header gives each field a type, as in `user_id:token`."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from userrep.datasets.dataset import Dataset, Events
from userrep.datasets.lines import parsed, read_fields, read_header
from userrep.datasets.raw import fetch_again
from userrep.errors import DataError, suggest

TYPES = {"token", "token_seq", "float", "float_seq"}


def read_atomic(path: Path) -> pl.DataFrame:
    """Read an atomic file as text: its fields without their types, and `line`.

    Raises:
        DataError: the file is missing or empty, or its header has a field without a type.
    """
    fields = [field.strip().rpartition(":") for field in read_header(path, "\t")]
    untyped = [before + after for before, _, after in fields if after not in TYPES or not before]
    if untyped:
        hint = f"atomic files name fields as NAME:TYPE, with a TYPE of {', '.join(sorted(TYPES))}"
        raise DataError(f"{path}, line 1: the field {untyped[0]!r} has no type", hint)
    return read_fields(path, "\t", [name for name, _, _ in fields], skip=1)


def only_file(raw_dir: Path, suffix: str) -> Path:
    """Return the one file of `raw_dir` with this suffix."""
    found = sorted(raw_dir.glob(f"*{suffix}"))
    if len(found) != 1:
        raise DataError(f"{raw_dir} has {len(found)} files *{suffix}, not one", fetch_again(raw_dir))
    return found[0]


def field_of(frame: pl.DataFrame, name: str, path: Path) -> pl.Expr:
    """Return a column by its name in the header; raise DataError that lists the fields there are."""
    if name not in frame.columns:
        raise DataError(f"{path} has no field {name!r}", suggest(name, set(frame.columns) - {"line"}))
    return pl.col(name)


@dataclass(kw_only=True)
class Atomic(Dataset):
    """Any data set in atomic files: NAME.inter, with labels NAME.user, with titles NAME.item.

    The fields are named as in the headers; time_field, rating_field and text_field may be None where there is
    none. user_prefix is taken off raw user ids. stem is NAME, needed where a folder holds several such data sets.
    """

    user_field: str = "user_id"
    item_field: str = "item_id"
    time_field: str | None = "timestamp"
    rating_field: str | None = "rating"
    text_field: str | None = None
    user_prefix: str = ""
    stem: str = ""

    def events(self, raw_dir: Path) -> Events:
        path = only_file(raw_dir, f"{self.stem}.inter")
        frame = read_atomic(path)
        fields = {
            "user": self.user_field,
            "item": self.item_field,
            "time": self.time_field,
            "rating": self.rating_field,
        }
        named = frame.select("line", **{key: field_of(frame, name, path) for key, name in fields.items() if name})
        return Events(self._typed(named, path).lazy(), self._users(raw_dir), self._texts(raw_dir))

    def _typed(self, frame: pl.DataFrame, path: Path) -> pl.DataFrame:
        for column, kind in (("time", pl.Int64), ("rating", pl.Float32)):
            if column in frame.columns:
                frame = parsed(frame, column, kind, path)
            else:
                frame = frame.with_columns(pl.lit(None, kind).alias(column))
        user = pl.col("user").str.strip_prefix(self.user_prefix)
        return frame.select(user, "item", "time", "rating", domain=pl.lit("main"), row=pl.int_range(pl.len()))

    def _users(self, raw_dir: Path) -> pl.DataFrame:
        if not self.labels:
            return pl.DataFrame(schema={"user": pl.String})
        path = only_file(raw_dir, f"{self.stem}.user")
        frame = read_atomic(path)
        labels = {label: field_of(frame, label, path).replace("", None) for label in self.labels}
        user = field_of(frame, self.user_field, path).str.strip_prefix(self.user_prefix)
        return frame.select("line", user.alias("user"), **labels)

    def _texts(self, raw_dir: Path) -> pl.DataFrame:
        if self.text_field is None:
            return pl.DataFrame(schema={"item": pl.String, "text": pl.String})
        path = only_file(raw_dir, f"{self.stem}.item")
        frame = read_atomic(path)
        return frame.select(item=field_of(frame, self.item_field, path), text=field_of(frame, self.text_field, path))

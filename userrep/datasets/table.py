"""Events from a csv or tsv file of your own, its columns named in the config."""

import csv
import gzip
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from userrep.datasets.dataset import Dataset, Events
from userrep.datasets.lines import parsed
from userrep.errors import DataError, suggest

OWN = "correct the file"


@dataclass(kw_only=True)
class Table(Dataset):
    """A file with a header and one event a line, .gz or not; paths are relative to the current folder.

    time, rating and domain name columns, or are None where there is none: without times, the order of the
    lines counts. Whole numbers are taken as seconds. users_path is a file with the column `user` (named as in
    the events) and one column a label; a user that it leaves out, and an empty field, has no label. The
    separator is a comma, or a tab for .tsv files, unless given; quote is None where quotes are part of the
    text.
    """

    path: str = ""
    user: str = "user"
    item: str = "item"
    time: str | None = "time"
    rating: str | None = None
    domain: str | None = None
    users_path: str | None = None
    separator: str | None = None
    quote: str | None = '"'

    def raw_files(self, raw_dir: Path) -> list[Path]:
        return [Path(path) for path in (self.path, self.users_path) if path]

    def events(self, raw_dir: Path) -> Events:
        if not self.path:
            raise DataError(
                f"the data set {self.name!r} has no file",
                "name it: dataset.path=events.csv dataset.name=mine",
            )
        path = Path(self.path)
        fields = {
            "user": self.user,
            "item": self.item,
            "time": self.time,
            "rating": self.rating,
            "domain": self.domain,
        }
        frame = self._read(path, {key: name for key, name in fields.items() if name})
        for column, kind in (("time", pl.Int64), ("rating", pl.Float32)):
            if column in frame.columns:
                frame = parsed(frame, column, kind, path)
            else:
                frame = frame.with_columns(pl.lit(None, kind).alias(column))
        if self.domain is None:
            frame = frame.with_columns(domain=pl.lit("main"))
        typed = frame.select("user", "item", "time", "rating", "domain", row=pl.int_range(pl.len()))
        return Events(typed.lazy(), self._users(), pl.DataFrame(schema={"item": pl.String, "text": pl.String}))

    def _users(self) -> pl.DataFrame:
        if self.users_path is None:
            return pl.DataFrame(schema={"user": pl.String})
        fields = {"user": self.user} | {label: label for label in self.labels}
        return self._read(Path(self.users_path), fields, required=("user",))

    def _read(self, path: Path, fields: Mapping[str, str], required: Sequence[str] | None = None) -> pl.DataFrame:
        """Read the columns named by the values of `fields` as text, under its keys, and `line` (from 1).

        Empty lines are left out; a row that lacks a required field (by default any of them) is an error.
        """
        separator = self.separator or ("\t" if ".tsv" in path.suffixes else ",")
        frame = read_table(path, separator, self.quote)
        columns = [column for column in frame.columns if column != "line"]
        for name in fields.values():
            if name not in columns:
                raise DataError(f"{path} has no column {name!r}; it has {', '.join(columns)}", suggest(name, columns))
        frame = frame.select("line", **{key: pl.col(name) for key, name in fields.items()})
        for key in fields if required is None else required:
            absent = frame.filter(pl.col(key).is_null())
            if not absent.is_empty():
                raise DataError(f"{path}, line {absent['line'][0]}: there is no {fields[key]}", OWN)
        return frame


def read_table(path: Path, separator: str, quote: str | None) -> pl.DataFrame:
    """Read all columns of a file as text, empty fields as null, and `line`, where each row begins.

    Raises:
        DataError: the file is missing, empty, has no rows, or a line cannot be read.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}", "check the path: it is taken from the current folder")
    try:
        rows = pl.read_csv(path, separator=separator, quote_char=quote, infer_schema=False)
    except pl.exceptions.NoDataError as error:
        raise DataError(f"{path} is empty", "give a file with a header and one event a line") from error
    except (pl.exceptions.PolarsError, OSError, UnicodeError) as error:
        raise DataError(*_fault(path, separator, quote, str(error))) from error
    if rows.is_empty():
        raise DataError(f"{path} has a header and no rows", "give a file with a header and one event a line")
    breaks = pl.sum_horizontal(pl.all().str.count_matches("\n", literal=True).fill_null(0))
    numbered = rows.select(pl.all().replace("", None), line=2 + pl.int_range(pl.len()) + breaks.cum_sum() - breaks)
    return numbered.filter(~pl.all_horizontal(pl.exclude("line").is_null()))


def _fault(path: Path, separator: str, quote: str | None, reason: str) -> tuple[str, str]:
    """Find the line that a reader stumbled over: too many fields, or a quote left open."""
    try:
        text = (gzip.decompress if path.suffix == ".gz" else bytes)(path.read_bytes()).decode()
    except (OSError, EOFError, zlib.error) as error:
        return f"cannot read {path}: {error}", "get the file again"
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return f"{path}, line {line}: not UTF-8 text", "convert the file: iconv -f latin1 -t utf-8"
    quoting = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
    records = csv.reader(io.StringIO(text), delimiter=separator, **quoting)
    expected, line = len(next(records)), 1
    for record in records:
        if len(record) > expected:
            return f"{path}, line {line + 1}: {len(record)} fields, the header has {expected}", OWN
        line = records.line_num
    for number, row in enumerate(text.splitlines() if quote else (), 1):
        if row.count(str(quote)) % 2:
            return f"{path}, line {number}: a quote is left open", f"{OWN}, or set dataset.quote=null"
    return f"cannot read {path}: {reason.splitlines()[0]}", OWN

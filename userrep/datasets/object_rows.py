"""Rows of a text with one JSON object a line, as text."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from userrep.datasets.faults import Faults
from userrep.errors import DataError

HUGE = r"\d{20}|-9\d{18}"  # whole numbers that may not fit in 64 bits, and would be rounded
NO_OBJECT, HALF = "not a JSON object", "an object with half a character in a text"


def object_columns(path: Path, lines: pl.DataFrame) -> list[str]:
    """Return the keys of the first line (of columns line, text) that is a JSON object."""
    for text in lines["text"].head(100):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return list(found)
    raise DataError(f"{path} has no JSON object a line", "write each event as an object on a line of its own")


def read_objects(path: Path, lines: pl.DataFrame, names: Sequence[str], faults: Faults) -> pl.DataFrame:
    """Read the keys `names` of each line as text, null where a line has none; note the lines that are no object."""
    lines = lines.filter(pl.col("text").str.strip_chars() != "")
    text = pl.col("text")
    values = [text.str.json_path_match(f"$[{_quoted(name)}]").alias(name) for name in names]
    frame = lines.select("line", *values)
    # What has a gap may be no object, or one that polars does not read; so few that each can be looked at.
    doubtful = frame.select(pl.any_horizontal(pl.col(names).is_null())).to_series() | lines["text"].str.contains(HUGE)
    read = {line: _values(text, names) for line, text in lines.filter(doubtful).select("line", "text").iter_rows()}
    for fault in (NO_OBJECT, HALF):
        faults.add(frame, pl.col("line").is_in([line for line, own in read.items() if own == fault]), pl.lit(fault))
    rows = [(line, *own) for line, own in read.items() if not isinstance(own, str)]
    return pl.concat([frame.filter(~doubtful), pl.DataFrame(rows, frame.schema, orient="row")]).sort("line")


def _quoted(name: str) -> str:
    mark = '"' if "'" in name else "'"
    if mark in name or "\\" in name:
        raise DataError(f"the column {name!r} has quotes or backslashes in its name", "rename it")
    return f"{mark}{name}{mark}"


def _values(text: str, names: Sequence[str]) -> list[str | None] | str:
    """Return the values of an object as text, or what is wrong with it."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return NO_OBJECT
    if not isinstance(found, dict):
        return NO_OBJECT
    values = [_as_text(found.get(name)) for name in names]
    try:
        "".join(filter(None, values)).encode()
    except UnicodeEncodeError:  # one of two surrogates, as where a text was cut
        return HALF
    return values


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

"""Rows of a text with one JSON object a line, as text."""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from userrep.datasets.faults import Faults
from userrep.errors import DataError


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
    values = [pl.col("text").str.json_path_match(f"$[{_quoted(name)}]").alias(name) for name in names]
    frame = lines.with_columns(values)
    doubtful = frame.filter(pl.any_horizontal(pl.col(names).is_null()))  # so few that each can be looked at
    wrong = [line for line, text in doubtful.select("line", "text").iter_rows() if not _is_object(text)]
    faults.add(frame, pl.col("line").is_in(wrong), pl.lit("not a JSON object"))
    return frame.filter(~pl.col("line").is_in(wrong)).drop("text")


def _quoted(name: str) -> str:
    mark = '"' if "'" in name else "'"
    if mark in name or "\\" in name:
        raise DataError(f"the column {name!r} has quotes or backslashes in its name", "rename it")
    return f"{mark}{name}{mark}"


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False

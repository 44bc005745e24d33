"""Rows of a csv in which nothing is unusual, read at the speed of a csv reader that looks at nothing twice."""

from collections.abc import Sequence

import polars as pl


def read_plain(
    content: bytes, columns: Sequence[str], names: Sequence[str], separator: str, first: int, skipped: int
) -> pl.DataFrame | None:
    """Read the columns `names` as text, empty values as null, and `line`, of lines that hold no quote.

    The first of them is line `first` of the file; so many are `skipped`. Returns None where a line is empty or has
    another number of fields than `columns`, its end is unusual, or the text is no UTF-8: a reader that looks at each
    line must then say what is wrong.
    """
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n")
        if b"\r" in content:
            return None
    for _ in range(skipped):
        content = content[content.find(b"\n") + 1 or len(content) :]
    if not content:
        return None
    wanted = sorted({columns.index(name) for name in names} | {len(columns) - 1})
    try:
        frame = pl.read_csv(
            content, has_header=False, separator=separator, quote_char=None, columns=wanted, infer_schema=False
        )
    except (pl.exceptions.PolarsError, ValueError, TypeError):
        return None
    # A short line ends in null. If none is short, the number of separators tells whether one is long.
    lines = content.count(b"\n") + (not content.endswith(b"\n"))
    apart = len(frame) * (len(columns) - 1)
    if len(frame) != lines or frame[:, -1].null_count() or content.count(separator.encode()) != apart:
        return None
    found = pl.DataFrame([frame[:, wanted.index(columns.index(name))].alias(name) for name in names])
    if found.select(pl.all_horizontal(pl.all().is_null()).any()).item():  # perhaps nothing but separators
        return None
    return found.with_columns(line=first + skipped + pl.int_range(pl.len()))

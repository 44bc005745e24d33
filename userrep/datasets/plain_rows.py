"""Rows of a csv in which nothing is unusual, read at the speed of a csv reader that looks at nothing twice."""

from collections.abc import Collection, Sequence

import polars as pl

from userrep.datasets.ids import LARGEST, written_bytes


def read_plain(
    content: bytes,
    columns: Sequence[str],
    names: Sequence[str],
    separator: str,
    first: int,
    skipped: int,
    numbers: Collection[str] = (),
) -> pl.DataFrame | None:
    """Read the columns `names`, empty values as null, and `line`, of lines that hold no quote.

    Those of `numbers` come as whole numbers if all their texts are what the numbers are written as, else as text, as
    all others do. The first line is line `first` of the file; so many are `skipped`. Returns None where a line is empty
    or has another number of fields than `columns`, its end is unusual, or the text is no UTF-8: a reader that looks at
    each line must then say what is wrong.
    """
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n")
        if b"\r" in content:
            return None
    for _ in range(skipped):
        content = content[content.find(b"\n") + 1 or len(content) :]
    if not content:
        return None
    found = _with_numbers(content, columns, names, separator, numbers)
    if found is None:
        found = _texts(content, columns, names, separator)
    if found is None or found.select(pl.all_horizontal(pl.all().is_null()).any()).item():  # perhaps only separators
        return None
    return found.with_columns(line=first + skipped + pl.int_range(pl.len()))


def _with_numbers(
    content: bytes, columns: Sequence[str], names: Sequence[str], separator: str, numbers: Collection[str]
) -> pl.DataFrame | None:
    """Read whole numbers without making texts of them; None where this would lose something.

    What was read, written out again with its separators and line ends, must have as many bytes as the content has: a
    sign, a zero before a number, a space, a further field or an empty line would all make that longer, and nothing
    makes it shorter but a field that is missing, which is null in the last column.
    """
    fields = content[: content.find(b"\n") if b"\n" in content else None].split(separator.encode())
    if len(fields) != len(columns) or len(columns) > 2 * len(names):  # reading all the others would cost more
        return None
    first = zip(fields, columns, strict=True)
    whole = [field.isdigit() and len(field) <= LARGEST and name in numbers for field, name in first]
    if not any(whole):
        return None
    kinds = {str(place): pl.Int64 if number else pl.String for place, number in enumerate(whole)}
    frame = _frame(content, separator, schema=kinds)
    if frame is None or frame[:, -1].null_count():
        return None
    ends = len(frame) - (not content.endswith(b"\n"))
    fields_alone = len(content) - ends - len(frame) * (len(columns) - 1)
    if fields_alone != sum(written_bytes(column) for column in frame):
        return None
    return pl.DataFrame([frame[:, columns.index(name)].alias(name) for name in names])


def _texts(content: bytes, columns: Sequence[str], names: Sequence[str], separator: str) -> pl.DataFrame | None:
    wanted = sorted({columns.index(name) for name in names} | {len(columns) - 1})
    frame = _frame(content, separator, columns=wanted, infer_schema=False)
    if frame is None:
        return None
    # A short line ends in null. If none is short, the number of separators tells whether one is long.
    lines = content.count(b"\n") + (not content.endswith(b"\n"))
    apart = len(frame) * (len(columns) - 1)
    if len(frame) != lines or frame[:, -1].null_count() or content.count(separator.encode()) != apart:
        return None
    return pl.DataFrame([frame[:, wanted.index(columns.index(name))].alias(name) for name in names])


def _frame(content: bytes, separator: str, **how: object) -> pl.DataFrame | None:
    try:
        return pl.read_csv(content, has_header=False, separator=separator, quote_char=None, **how)  # type: ignore
    except (pl.exceptions.PolarsError, ValueError, TypeError):
        return None

"""Rows of a csv that hold quotes: one may span lines, and a broken one takes no other row with it."""

import csv
import re
from collections.abc import Iterator
from typing import Any

import polars as pl

LONGEST = 1000  # lines that one row may span
UNDECIDED = "the row may go on in the next block"
OPEN = "a quote is left open (where quotes are part of the text: dataset.quote=null)"


def dialect(separator: str, quote: str | None) -> dict[str, Any]:
    """Return how the standard library's reader is told of a separator and a quote."""
    return {"delimiter": separator, **({"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE})}


def without_needless(body: pl.DataFrame, separator: str, quote: str) -> pl.DataFrame:
    """Take the quotes off the lines (columns line, text) where they hold no separator, quote or end of a line.

    A line may be inside of a row that began before; so none is touched that follows, within the longest row, a line
    whose quotes do not pair.
    """
    mark, part = re.escape(quote), re.escape(separator)
    inside = f"(?:{mark}[^{mark}{part}]*{mark}|[^{mark}{part}]*)"
    text, place = pl.col("text"), pl.int_range(pl.len())
    odd = text.str.count_matches(quote, literal=True) % 2 == 1
    open_since = pl.when(odd).then(place).forward_fill()
    safe = (open_since.is_null() | (place - open_since > LONGEST)) & text.str.contains(f"^{inside}(?:{part}{inside})*$")
    plain = text.str.replace_all(quote, "", literal=True)
    return body.with_columns(text=pl.when(safe).then(plain).otherwise(text))


def quoted_rows(
    body: pl.DataFrame, separator: str, quote: str, expected: int, *, last: bool = True
) -> Iterator[tuple[int, int, list[str] | None, str]]:
    """Parse the rows of `body` (columns line, text) that hold a quote.

    Yields the place in `body` where a row begins and the one after its last, its fields (None: it is broken) and what
    is wrong. A row goes on to the next line with a quote only where it has `expected` fields in the end: otherwise
    its first line alone is broken. With `last` off, more lines follow `body`: a row that may need them is UNDECIDED,
    and takes all lines after it with it.
    """
    marked = body.with_row_index("place").filter(pl.col("text").str.contains(quote, literal=True))
    places, texts = marked["place"].to_list(), marked["text"].to_list()
    known, at = dialect(separator, quote), 0
    while at < len(places):
        end: int | None = at
        fields, fault = _parse([texts[at]], known)
        if fields is None and fault == OPEN:
            end, fields = _spanning(body["text"], places, at, known, expected)
            if end is None and not last and places[at] + LONGEST > len(body):
                yield places[at], len(body), None, UNDECIDED
                return
        end = at if end is None else end
        yield places[at], places[end] + 1, *_counted(fields, fault, expected)
        at = end + 1


def _counted(fields: list[str] | None, fault: str, expected: int) -> tuple[list[str] | None, str]:
    if fields is None or len(fields) == expected:
        return fields, fault
    return None, f"{len(fields)} fields, the header has {expected}"


def _spanning(
    texts: pl.Series, places: list[int], at: int, known: dict[str, Any], expected: int
) -> tuple[int | None, list[str] | None]:
    """Look for the line that closes a quote.

    Returns its index in `places` (None: there is none in reach) and the fields (None: they are too many or too few; the
    index is then `at`).
    """
    begin = places[at]
    for last in range(at + 1, len(places)):
        if places[last] - begin >= LONGEST:
            break
        fields, fault = _parse(texts.slice(begin, places[last] - begin + 1).to_list(), known)
        if fault != OPEN:
            return (last, fields) if fields and len(fields) == expected else (at, None)
    return None, None


def _parse(lines: list[str], known: dict[str, Any]) -> tuple[list[str] | None, str]:
    try:
        return next(csv.reader([f"{line}\n" for line in lines], strict=True, **known)), ""
    except csv.Error as error:
        return None, OPEN if "end of data" in str(error) else f"a quote in the middle of a field ({error})"

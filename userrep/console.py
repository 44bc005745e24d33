"""The one place that prints: notes, tables, errors and the JSON answer."""

import json
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from userrep.errors import UsageError, UserRepError
from userrep.files import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PLAIN_WIDTH = 160  # columns of a table that goes to a file or a pipe

_json = False
_reserved = False  # stdout is kept for what a program reads
_quiet = False  # another process speaks: this one tells its errors alone
_hushed = False  # notes are left out


@dataclass(frozen=True)
class Figure:
    """A number of a table that is written already, and may be bold."""

    text: str
    bold: bool = False


def use_json(on: bool) -> None:
    """Keep stdout for the one JSON object; everything else goes to stderr."""
    global _json, _reserved
    _json = _reserved = on


def be_quiet(on: bool) -> None:
    """Print nothing but errors, since another process of a team speaks for all."""
    global _quiet
    _quiet = on


def reserve_stdout() -> None:
    """Keep stdout for `write`, until the next command; everything else goes to stderr.

    Raises:
        UsageError: stdout is kept for the JSON object.
    """
    global _reserved
    if _json:
        raise UsageError("--json has stdout for itself", "name a file in place of -")
    _reserved = True


def write(text: str) -> None:
    """Write text to stdout as it is, for a program or a file."""
    _write(sys.stdout, text)


def width() -> int:
    """Return the columns that a table may take."""
    return printer(stderr=_reserved).width


def printer(*, stderr: bool) -> "Console":
    """Return what draws on stdout or stderr; plain text, as wide as the terminal."""
    from rich.console import Console

    class Tolerant(Console):
        def on_broken_pipe(self) -> None:
            _silence(stream)

    stream = sys.stderr if stderr else sys.stdout
    if _quiet:
        return Tolerant(quiet=True)
    width = None if stream.isatty() else PLAIN_WIDTH
    return Tolerant(file=stream, width=width, markup=False, highlight=False, emoji=False)


def _silence(stream: TextIO) -> None:
    """Send what is still to come to nowhere: a reader that went away, as `| head` does, ends no work."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, stream.fileno())
    os.close(devnull)


def _write(stream: TextIO, line: str) -> None:
    if _quiet:
        return
    try:
        stream.write(line + "\n")
        stream.flush()
    except BrokenPipeError:
        _silence(stream)


def is_live() -> bool:
    """Say whether somebody watches stderr, so that a line may be drawn anew."""
    return sys.stderr.isatty() and not _quiet


def tell(line: str) -> None:
    """Write a line to stderr, for logs and pipes."""
    _write(sys.stderr, line)


def flush() -> None:
    """Bring out what is still buffered, quietly if nobody reads it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            _silence(stream)


@contextmanager
def hushed() -> Iterator[None]:
    """Leave notes out inside the block: of work that is tried and told of otherwise."""
    global _hushed
    before, _hushed = _hushed, True
    try:
        yield
    finally:
        _hushed = before


def note(text: str) -> None:
    """Print a line of information."""
    if _hushed:
        return
    printer(stderr=_reserved).print(_harmless(text), soft_wrap=True)


def warn(text: str) -> None:
    """Print a line on stderr that a user should read."""
    printer(stderr=True).print(f"warning: {_harmless(text)}", style="yellow", soft_wrap=True)


def grid(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> "Table":
    """Return rows under columns as `table` prints them."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    cells = [list(row) for row in rows]
    view = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True, header_style="dim")
    for index, name in enumerate(columns):
        numeric = bool(cells) and all(isinstance(row[index], (int, float, Figure, type(None))) for row in cells)
        whole = numeric and any(isinstance(row[index], Figure) for row in cells)
        view.add_column(name, justify="right" if numeric else "left", no_wrap=whole, overflow="fold")
    for row in cells:
        bold = [isinstance(value, Figure) and value.bold for value in row]
        view.add_row(*(Text(_cell(value), "bold" if strong else "") for value, strong in zip(row, bold, strict=True)))
    return view


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], below: str = "") -> None:
    """Print `rows` under `columns`; numbers are right-aligned, floats shown with four digits.

    `below` is a line that belongs to the table.
    """
    view = grid(columns, rows)
    shown = printer(stderr=_reserved)
    shown.print(title, soft_wrap=True)  # not the table's own title, which would wrap at the table's width
    shown.print(view)
    shown.print(f"{below}\n" if below else "", soft_wrap=True)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, Figure):
        return value.text
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else _harmless(str(value))


def _harmless(text: str) -> str:
    """Replace what would command a terminal: names and ids come from files of strangers."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\ufffd", text)


def show_error(error: UserRepError) -> None:
    """Print one line of cause and one of remedy, and with --json the error object on stdout."""
    global _quiet
    _quiet = False
    console = printer(stderr=True)
    console.print(f"error: {_one_line(error.message)}", style="red", soft_wrap=True)
    if error.hint:
        console.print(f"  try: {_one_line(error.hint)}", soft_wrap=True)
    if _json:
        emit_json({"error": {"kind": error.kind, "message": error.message, "hint": error.hint}})


def _one_line(text: str) -> str:
    return _harmless(" ".join(text.split()))


def emit_json(answer: Any) -> None:
    """Write one JSON object, on one line, to stdout; NaN becomes null."""
    _write(sys.stdout, json.dumps(plain(answer), ensure_ascii=False, allow_nan=False))

"""The one place that prints: notes, tables, errors, progress and the JSON answer."""

import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from userrep.errors import UsageError, UserRepError
from userrep.files import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PLAIN_WIDTH = 160  # columns of a table that goes to a file or a pipe
PLAIN_SECONDS = 10.0  # between progress lines where there is no terminal
BAR_SECONDS = 0.2  # between two looks of a bar at its figures

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
        return f"{value:.4f}"
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


class Progress(Protocol):
    """What `progress` yields."""

    def advance(self, amount: float = 1) -> None:
        """Count `amount` units as done."""

    def describe(self, text: str) -> None:
        """Replace the description."""


class TrainingProgress(Protocol):
    """What `training_progress` yields."""

    def update(self, step: int, total: int, **fields: Any) -> None:
        """Show `step` of `total` as done beside named values (loss, metric, seq_s ...)."""


@contextmanager
def progress(description: str, total: float | None = None, unit: str = "") -> Iterator[Progress]:
    """Show how far some work is; `unit="B"` counts bytes, `total=None` shows no end."""
    if sys.stderr.isatty() and not _quiet:
        with _Bar(description, total, unit) as bar:
            yield bar
    else:
        yield _Lines(description, total, unit)


@contextmanager
def training_progress(description: str = "training") -> Iterator[TrainingProgress]:
    """Show step, named values and the time left of a training."""
    if sys.stderr.isatty() and not _quiet:
        with _Bar(description, None, "steps") as bar:
            yield bar
    else:
        yield _Lines(description, None, "steps")


def _fields(fields: dict[str, Any]) -> str:
    return "  ".join(f"{name.replace('seq_s', 'seq/s')} {_field(value)}" for name, value in fields.items())


def _field(value: Any) -> str:
    if isinstance(value, str | int):
        return str(value)
    number = float(value)  # may be a tensor: what is not shown is never waited for
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.4f}"


class _Bar:
    """A rich progress bar on stderr."""

    def __init__(self, description: str, total: float | None, unit: str) -> None:
        from rich import progress as rich

        count = rich.DownloadColumn() if unit == "B" else rich.MofNCompleteColumn()
        columns = (
            rich.TextColumn("{task.description}", markup=False),
            rich.BarColumn(bar_width=24),
            count,
            rich.TextColumn("{task.fields[shown]}", markup=False),
            rich.TimeRemainingColumn(),
        )
        self._rich = rich.Progress(
            *columns, console=printer(stderr=True), transient=True, refresh_per_second=5
        )
        self._task = self._rich.add_task(description, total=total, shown="")
        self._next = 0.0

    def __enter__(self) -> "_Bar":
        self._rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._rich.stop()

    def advance(self, amount: float = 1) -> None:
        self._rich.update(self._task, advance=amount)

    def describe(self, text: str) -> None:
        self._rich.update(self._task, description=text)

    def update(self, step: int, total: int, **fields: Any) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + BAR_SECONDS
        self._rich.update(self._task, completed=step, total=total, shown=_fields(fields))


class _Lines:
    """A line on stderr every few seconds, for logs and pipes."""

    def __init__(self, description: str, total: float | None, unit: str) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._done = 0.0
        self._next = time.monotonic() + PLAIN_SECONDS

    def advance(self, amount: float = 1) -> None:
        self._done += amount
        self._tell("")

    def describe(self, text: str) -> None:
        self._description = text

    def update(self, step: int, total: int, **fields: Any) -> None:
        self._done, self._total = step, total
        if time.monotonic() >= self._next:
            self._tell("  " + _fields(fields))

    def _tell(self, suffix: str) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + PLAIN_SECONDS
        total = f"/{self._total:,.0f}" if self._total else ""
        _write(sys.stderr, f"{self._description}: {self._done:,.0f}{total} {self._unit}{suffix}".rstrip())

"""Progress: how far some work is, as a bar where somebody watches, as a line now and then elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from userrep import console

PLAIN_SECONDS = 10.0  # between lines where there is no terminal
BAR_SECONDS = 0.2  # between two looks of a bar at its figures


class Progress(Protocol):
    """What `working` yields."""

    def advance(self, amount: float = 1) -> None:
        """Count `amount` units as done."""

    def describe(self, text: str) -> None:
        """Replace the description."""


class TrainingProgress(Protocol):
    """What `training` yields."""

    def update(self, step: int, total: int, **fields: Any) -> None:
        """Show `step` of `total` as done beside named values (loss, metric, seq_s ...)."""


@contextmanager
def working(description: str, total: float | None = None, unit: str = "") -> Iterator[Progress]:
    """Show how far some work is; `unit="B"` counts bytes, `total=None` shows no end."""
    if console.is_live():
        with _Bar(description, total, unit) as bar:
            yield bar
    else:
        yield _Lines(description, total, unit)


@contextmanager
def training(description: str = "training") -> Iterator[TrainingProgress]:
    """Show step, named values and the time left of a training."""
    if console.is_live():
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
        shown_on = console.printer(stderr=True)
        self._rich = rich.Progress(*columns, console=shown_on, transient=True, refresh_per_second=5)
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
        console.tell(f"{self._description}: {self._done:,.0f}{total} {self._unit}{suffix}".rstrip())

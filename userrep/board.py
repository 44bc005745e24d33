"""The board: a table on the terminal that is drawn anew in its place while work goes on."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from userrep import console


class Board(Protocol):
    """What `board` yields."""

    def show(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Draw the table anew."""


@contextmanager
def board() -> Iterator[Board | None]:
    """Yield a board on stderr, gone when the block ends; None where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.live import Live

    with Live(transient=True, refresh_per_second=4, console=console.printer(stderr=True)) as live:
        yield _Drawn(live)


class _Drawn:
    def __init__(self, live: Any) -> None:
        self._live = live

    def show(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Draw the table anew."""
        from rich.console import Group
        from rich.text import Text

        self._live.update(Group(Text(title), console.grid(columns, rows)))

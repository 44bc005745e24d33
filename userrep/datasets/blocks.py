"""Blocks of whole lines of a text file, packed with gzip or not, that never hold more of it than asked for."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from userrep.datasets.lines import GZIP
from userrep.errors import DataError

MARK = b"\xef\xbb\xbf"  # some programs begin a UTF-8 text with it


@dataclass(frozen=True)
class Place:
    """Where reading goes on: bytes of the unpacked text (rows of a parquet file) before it, and the line there."""

    at: int = 0
    line: int = 1


@dataclass(frozen=True)
class Block:
    """Whole lines: their bytes, where they begin, and whether the file ends with them."""

    content: bytes
    begin: Place
    last: bool

    def end(self, content: bytes) -> Place:
        """Return the place after `content`, some or all of the lines of this block."""
        return Place(self.begin.at + len(content), self.begin.line + content.count(b"\n"))

    def until(self, line: int) -> bytes:
        """Return the lines before `line`."""
        at = 0
        for _ in range(line - self.begin.line):
            at = self.content.index(b"\n", at) + 1
        return self.content[:at]


class Blocks:
    """The blocks of a text, about `size` bytes each; `take` says how much of one was used, the rest comes again."""

    def __init__(self, file: BufferedReader, size: int, begin: Place) -> None:
        self._file, self._size, self.place = file, size, begin
        self._held, self._ended = b"", False
        file.seek(begin.at)

    def read(self) -> Block | None:
        """Return the next block, None at the end of the file."""
        cut = 0
        while not self._ended:
            more = self._file.read(self._size)
            self._ended = not self._file.peek(1)
            self._held += more
            cut = len(self._held) if self._ended else self._held.rfind(b"\n") + 1
            if cut:
                break
        cut = cut or len(self._held)
        return Block(self._held[:cut], self.place, self._ended) if self._held else None

    def take(self, content: bytes, place: Place) -> None:
        """Go on after `content`, the first bytes of what was held, at `place`."""
        self._held, self.place = self._held[len(content) :], place


@contextmanager
def opened_text(path: Path) -> Iterator[BufferedReader]:
    """Open a text, packed with gzip or not, as bytes.

    Raises:
        DataError: it cannot be read, or is cut short where it is read.
    """
    try:
        with gzip.open(path, "rb") if is_packed(path) else open(path, "rb") as file:
            yield file  # type: ignore[misc] # a GzipFile reads and peeks alike
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}", "get the file again: it may be half a download") from error


def is_packed(path: Path) -> bool:
    """Say whether a file is packed with gzip, by its first bytes."""
    with open(path, "rb") as file:
        return file.read(len(GZIP)) == GZIP

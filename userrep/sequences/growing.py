"""An array file of unknown length: values are appended, and the header that says how many comes last."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from userrep.sequences.pieces import PIECE

HEADER = 128  # bytes that numpy gives the header of a flat array, whatever its length


class GrowingArray:
    """A flat array in the making; once closed, its file is byte for byte what `np.save` writes."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.kind, self.length = path, np.dtype(kind), 0
        self._file = open(path, "wb+")  # noqa: SIM115 - it stays open until `close`
        self._file.write(bytes(HEADER))

    def append(self, values: np.ndarray) -> None:
        """Add values at the end."""
        self._file.write(np.ascontiguousarray(values, dtype=self.kind).data)
        self.length += len(values)

    def replace(self, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Replace all values by what `change` makes of them, some at a time."""
        for begin in range(0, self.length, PIECE):
            place = HEADER + begin * self.kind.itemsize
            self._file.seek(place)
            count = min(PIECE, self.length - begin)
            values = np.frombuffer(self._file.read(count * self.kind.itemsize), dtype=self.kind)
            self._file.seek(place)
            self._file.write(np.ascontiguousarray(change(values), dtype=self.kind).data)

    def close(self, *, keep: bool) -> np.ndarray | None:
        """Complete the file and map it into memory, or remove it."""
        with self._file:
            self._file.seek(0)
            described = {"descr": self.kind.str, "fortran_order": False, "shape": (self.length,)}
            np.lib.format.write_array_header_1_0(self._file, described)
            assert self._file.tell() == HEADER
        if not keep:
            self.path.unlink()
            return None
        return np.load(self.path, mmap_mode="r") if self.length else np.zeros(0, dtype=self.kind)

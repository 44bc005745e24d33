"""The journal: one JSON line a record, cut back to the checkpoint when a run goes on."""

import json
import os
from pathlib import Path
from typing import Any

WALL_TIME = ("seconds", "sequences_per_second")  # the only fields that may differ between a run and its repetition


class Journal:
    """Append records to `path` (log.jsonl); each line is on disk before the next checkpoint is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def position(self) -> int:
        """Length of the log in bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def append(self, record: dict[str, Any]) -> None:
        """Write one record."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def cut(self, position: int) -> None:
        """Forget what was written after `position`."""
        if self.path.exists():
            os.truncate(self.path, position)

    def records(self) -> list[dict[str, Any]]:
        """Read all records."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]


class Unwritten(Journal):
    """The journal of a process that follows: the leader writes the same."""

    @property
    def position(self) -> int:
        return 0

    def append(self, record: dict[str, Any]) -> None:
        return

    def cut(self, position: int) -> None:
        return

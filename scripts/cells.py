"""Cells: the runs that a table is made of, each one `userrep` command; what is finished is not run again."""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Cell:
    """One run: its path and the command that makes it."""

    path: Path
    command: tuple[str, ...]
    overrides: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether the run is there and whole."""
        return (self.path / "run.json").exists() and self.record.get("status") == "finished"

    @property
    def made_by(self) -> Path:
        """The file that keeps the command which made the run."""
        return self.path.with_name(f"{self.path.name}.command.json")

    def refuse_other(self) -> None:
        """End the script where the run was made by another command than the cell's: its numbers are not the cell's."""
        if self.finished and self.made_by.exists() and json.loads(self.made_by.read_text()) != list(self.command):
            sys.exit(f"{self.path} was made by another command, see {self.made_by}: give other --runs, or move it away")

    @property
    def record(self) -> dict[str, Any]:
        """What the run says of itself."""
        record: dict[str, Any] = json.loads((self.path / "run.json").read_text())
        return record


def parser(description: str | None, runs: Path, settles: bool = False) -> argparse.ArgumentParser:
    """Return a parser with the options of every script of results; `settles`: its trials have settled something."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--runs", type=Path, default=runs, help="where the runs go")
    made.add_argument("--data-dir", type=Path, default=Path("data"))
    made.add_argument("--jobs", type=int, default=2, help="processes at once, one thread each")
    if settles:
        made.add_argument("--settled", action="store_true", help="make no trials: what the docs chose")
    return made


def run(cells: list[Cell], options: argparse.Namespace) -> None:
    """Make the cells that are missing, `options.jobs` at once, in the order given."""
    for cell in cells:
        cell.refuse_other()
    missing = [cell for cell in dict.fromkeys(cells) if not cell.finished]
    if not missing:
        return
    print(f"{len(missing)} of {len(cells)} cells to run, from {missing[0].path}", flush=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        for cell, seconds in pool.map(lambda cell: (cell, _timed(cell, options)), missing):
            print(f"{seconds:6.0f} s  {cell.path}", flush=True)


def last_of_each(overrides: tuple[str, ...]) -> tuple[str, ...]:
    """Return the overrides with the last of each key alone, where its first stood."""
    return tuple(f"{key}={value}" for key, value in dict(text.split("=", 1) for text in overrides).items())


def best(cells: list[Cell], metric: str, maximise: bool) -> Cell:
    """Return the trial that was best on validation, the first of equals."""
    return max(cells, key=lambda cell: (1 if maximise else -1) * cell.record["metrics"][metric])


def userrep(command: tuple[str, ...], options: argparse.Namespace) -> str:
    """Run `userrep` with one thread and return what it printed; the script ends where it fails."""
    full = [sys.executable, "-m", "userrep", *command]
    if command[0] != "compare":
        full += ["--data-dir", str(options.data_dir)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(full, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(full)}\n{done.stderr[-2000:]}")
    return done.stdout


def evaluate(cells: list[Cell], options: argparse.Namespace) -> None:
    """Read the test users of the cells; what was read before is not read again."""
    waiting = [cell for cell in dict.fromkeys(cells) if not (cell.path / "metrics.json").exists()]
    if waiting:
        userrep(("evaluate", *(str(cell.path) for cell in waiting)), options)


def _timed(cell: Cell, options: argparse.Namespace) -> float:
    began = time.monotonic()
    userrep((*cell.command, "--run", str(cell.path)), options)
    cell.made_by.write_text(json.dumps(cell.command))
    return time.monotonic() - began

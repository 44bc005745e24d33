"""Broken lines of a file: gathered from every check, then all named at once, or counted and left out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from userrep import console
from userrep.errors import DataError, suggest

SHOWN = 20  # lines named in one message
SKIP = "--skip-bad, or dataset.skip_bad=true"


@dataclass
class Faults:
    """What is wrong with which line of `path`; the first fault of a line counts. `unit` is what a line is called."""

    path: Path
    unit: str = "line"
    found: list[pl.DataFrame] = field(default_factory=list)

    def add(self, frame: pl.DataFrame, bad: pl.Expr, fault: pl.Expr) -> None:
        """Note the rows of `frame` (which has a column `line`) for which `bad` holds."""
        rows = frame.filter(bad)
        if not rows.is_empty():
            self.found.append(rows.select(pl.col("line").cast(pl.Int64), fault=fault.fill_null("")))

    @property
    def lines(self) -> pl.DataFrame:
        """Columns line and fault, in order of line."""
        empty = pl.DataFrame(schema={"line": pl.Int64, "fault": pl.String})
        return pl.concat([empty, *self.found]).unique("line", keep="first", maintain_order=True).sort("line")

    def settle(self, frame: pl.DataFrame, *, skip: bool, flag: str = SKIP) -> pl.DataFrame:
        """Return the rows of `frame` whose line has no fault; `flag` is what would leave the others out, if anything.

        Raises:
            DataError: a line has a fault and `skip` is off, or every other line has one.
        """
        lines = self.lines
        if lines.is_empty():
            return frame
        kept = frame.join(lines, on="line", how="anti", maintain_order="left")
        tally = Tally(self.path, self.unit)
        tally.add(len(kept), lines)
        tally.settle(skip=skip, flag=flag)
        return kept


@dataclass
class Tally:
    """How many rows of a file are good and how many are broken, the first of these in `shown`."""

    path: Path
    unit: str = "line"
    kept: int = 0
    broken: int = 0
    shown: list[tuple[int, str]] = field(default_factory=list)

    def add(self, kept: int, lines: pl.DataFrame) -> None:
        """Count further rows; `lines` (columns line, fault) are the broken ones, in order."""
        self.kept += kept
        self.broken += len(lines)
        self.shown += lines.head(max(0, SHOWN - len(self.shown))).rows()

    def merge(self, later: "Tally") -> None:
        """Count the rows of a later part of the file."""
        self.kept += later.kept
        self.broken += later.broken
        self.shown += later.shown[: SHOWN - len(self.shown)]

    def settle(self, *, skip: bool, flag: str = SKIP) -> None:
        """Warn of the broken rows that are left out; `flag` is what would leave them out, if anything.

        Raises:
            DataError: a row is broken and `skip` is off, or every other row is.
        """
        if not self.broken:
            return
        if not skip:
            raise DataError(self._told(), "correct the file" + (f", or leave them out: {flag}" if flag else ""))
        if self.kept < self.broken:
            cause = f"{self.broken:,} of {self.kept + self.broken:,} {self.unit}s of {self.path} are broken, as"
            few = Tally(self.path, self.unit, broken=min(3, self.broken), shown=self.shown[:3])
            hint = "is another column or separator meant? they are too many to leave out"
            raise DataError(f"{cause} {few._listed()}", hint)
        console.warn(f"left out {self._told()}")

    def _told(self) -> str:
        if self.broken == 1:
            return f"{self.path}, {self._listed()}"
        return f"{self.broken:,} broken {self.unit}s of {self.path}: {self._listed()}"

    def _listed(self) -> str:
        if self.broken == 1:
            return f"{self.unit} {self.shown[0][0]}: {self.shown[0][1]}"
        named = "; ".join(f"{self.unit} {line}: {fault}" for line, fault in self.shown)
        return f"{named}; and {self.broken - SHOWN:,} more" if self.broken > SHOWN else named


def refuse_absent(path: Path, names: Sequence[str], columns: Sequence[str]) -> None:
    """Raise DataError for the first of `names` that is no column, with the columns there are, or that none may have."""
    for name in names:
        if name == "line":
            raise DataError(f"{path}: a column that is read cannot be called 'line'", "give it another name")
        if name not in columns:
            raise DataError(f"{path} has no column {name!r}; it has {', '.join(columns)}", suggest(name, columns))

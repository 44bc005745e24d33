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
        if not skip:
            raise DataError(self._told(lines), "correct the file" + (f", or leave them out: {flag}" if flag else ""))
        if len(kept) < len(lines):
            cause = f"{len(lines):,} of {len(kept) + len(lines):,} {self.unit}s of {self.path} are broken, as"
            hint = "is another column or separator meant? they are too many to leave out"
            raise DataError(f"{cause} {self._listed(lines.head(3))}", hint)
        console.warn(f"left out {self._told(lines)}")
        return kept

    def _told(self, lines: pl.DataFrame) -> str:
        if len(lines) == 1:
            return f"{self.path}, {self._listed(lines)}"
        return f"{len(lines):,} broken {self.unit}s of {self.path}: {self._listed(lines)}"

    def _listed(self, lines: pl.DataFrame) -> str:
        if len(lines) == 1:
            return f"{self.unit} {lines['line'][0]}: {lines['fault'][0]}"
        named = "; ".join(f"{self.unit} {line}: {fault}" for line, fault in lines.head(SHOWN).iter_rows())
        return f"{named}; and {len(lines) - SHOWN:,} more" if len(lines) > SHOWN else named


def refuse_absent(path: Path, names: Sequence[str], columns: Sequence[str]) -> None:
    """Raise DataError for the first of `names` that is no column, with the columns there are."""
    for name in names:
        if name not in columns:
            raise DataError(f"{path} has no column {name!r}; it has {', '.join(columns)}", suggest(name, columns))

"""The table of a comparison: what was compared, and how its parts are named and written wherever it is shown."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from userrep.evaluation.significance import Comparison, Paired
from userrep.stages.arms import Arm, labels


@dataclass(frozen=True)
class Table:
    """The comparison of one task: its arms, the users they share, each metric's contrasts with `arms[place]`.

    `margins` holds by metric what still counts as good, where anything does.
    """

    arms: list[Arm]
    paired: Paired
    found: list[Comparison]
    place: int
    protocol: str | None
    margins: dict[str, float] = field(default_factory=dict)

    @property
    def users(self) -> int:
        """Count the users that all arms have tested."""
        return len(np.unique(np.concatenate(self.paired.users)))

    @cached_property
    def labels(self) -> dict[str, str]:
        """Return by its name what each arm is called in the table."""
        return labels(self.arms)

    @property
    def reference(self) -> str:
        """Name the arm that the others are held against."""
        return self.arms[self.place].name


def arm_names(tables: dict[str, Table]) -> dict[str, str]:
    """Return the arms of all tasks, each name once, and what it is called in the table."""
    return labels(arm for table in tables.values() for arm in table.arms)


def sign(comparison: Comparison, index: int) -> str:
    """Return + or - where an arm's difference is significant, else nothing."""
    contrast = comparison.contrasts[index]
    if contrast is None or not contrast.significant:
        return ""
    return "+" if contrast.difference > 0 else "-"


def detectable(comparison: Comparison) -> list[float]:
    """Return the smallest differences that the contrasts of a metric could have shown."""
    return [contrast.detectable for contrast in comparison.contrasts if contrast is not None]


def span(values: list[float]) -> str:
    """Write the range of some values, or the one value."""
    low, high = min(values), max(values)
    return f"{low:.4f}" if f"{low:.4f}" == f"{high:.4f}" else f"{low:.4f} to {high:.4f}"


def place_of(table: Table, name: str) -> int | None:
    """Return where an arm stands in a task's table, None where it was not run on it."""
    return next((index for index, arm in enumerate(table.arms) if arm.name == name), None)

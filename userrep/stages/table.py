"""The table of a comparison: what was compared, and how its parts are named and written wherever it is shown."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from userrep.evaluation.significance import Comparison, Paired
from userrep.stages.arms import Arm, labels, replicate_name


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


def counted(table: Table) -> str:
    """Say how many users and replicates a table stands on."""
    several = len({fold for _, fold in table.paired.seeds}) > 1
    what = "replicate(s) of seed and fold" if several else "seed(s)"
    return f"{table.users:,} users, {len(table.paired.seeds)} {what}"


def left_out(table: Table) -> list[str]:
    """Say what of the runs is in no number of the table."""
    told = []
    if users := table.paired.left_out:
        told.append(f"{users:,} users are left out: not all arms have tested them (folds missing?)")
    if seeds := table.paired.seeds_left_out:
        told.append(f"runs of seed {'; '.join(map(replicate_name, seeds))} are left out: not all arms have them")
    return told


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


def conditions(table: Table) -> str:
    """Say what a table of one task stands on, and what its marks mean."""
    gaps = [f"{found.metric} {span(detectable(found))}" for found in table.found if detectable(found)]
    margins = [f"{name} {margin:.4f}" for name, margin in table.margins.items()]
    parts = [
        f"Reference: {table.labels[table.reference]}; {counted(table)}, paired",
        "Bold: p < 0.05 after Holm. Effect: mean difference in standard deviations of the users",
        f"Smallest detectable difference (80 % power): {', '.join(gaps)}" if gaps else "",
        f"Margin of as good: {', '.join(margins)}" if margins else "",
    ]
    return " ".join(f"{part}." for part in parts if part)


def tasks_conditions(tables: dict[str, Table]) -> str:
    """Say what a table of several tasks stands on, and what its marks mean."""
    first, names = next(iter(tables.values())), arm_names(tables)
    told = " ".join(
        f"{task}: {counted(table)}, "
        f"smallest detectable difference {span(detectable(table.found[0]) or [float('nan')])}."
        for task, table in tables.items()
    )
    rule = f"Bold, with its sign: differs from {names[first.reference]}, p < 0.05 after Holm within a task."
    return f"Value and 95 % interval. {rule} {told}"


def span(values: list[float]) -> str:
    """Write the range of some values, or the one value."""
    low, high = min(values), max(values)
    return f"{low:.4f}" if f"{low:.4f}" == f"{high:.4f}" else f"{low:.4f} to {high:.4f}"


def place_of(table: Table, name: str) -> int | None:
    """Return where an arm stands in a task's table, None where it was not run on it."""
    return next((index for index, arm in enumerate(table.arms) if arm.name == name), None)

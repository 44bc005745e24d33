"""One table of several tasks: an arm a row, a task a column."""

from dataclasses import dataclass

import numpy as np

from userrep import console
from userrep.evaluation.significance import Comparison, Paired
from userrep.stages.arms import Arm

LEVEL = 0.05  # of the Holm-adjusted p


@dataclass(frozen=True)
class Table:
    """The comparison of one task: its arms, the users they share, each metric's contrasts with `arms[place]`."""

    arms: list[Arm]
    paired: Paired
    found: list[Comparison]
    place: int
    protocol: str | None

    @property
    def users(self) -> int:
        """Count the users that all arms have tested."""
        return len(np.unique(np.concatenate(self.paired.users)))


def show_tasks(tables: dict[str, Table]) -> None:
    """Print each arm's first metric on each task, with its interval and a mark where it differs from the reference."""
    names = list(dict.fromkeys(arm.name for table in tables.values() for arm in table.arms))
    columns = ["arm", *(f"{task}: {table.found[0].metric}" for task, table in tables.items())]
    rows = [[name, *(_cell(table, name) for table in tables.values())] for name in names]
    first = next(iter(tables.values()))
    console.table(f"value and 95 % interval; reference {first.arms[first.place].name}", columns, rows)
    for task, table in tables.items():
        gaps = [contrast.detectable for contrast in table.found[0].contrasts if contrast is not None]
        smallest = f", smallest detectable difference {span(gaps)}" if gaps else ""
        console.note(f"{task}: {table.users:,} users, {len(table.paired.seeds)} seed(s){smallest}")
    console.note(f"+ and -: above and below the reference with a Holm-adjusted p under {LEVEL}")


def span(values: list[float]) -> str:
    """Write the range of some values, or the one value."""
    low, high = min(values), max(values)
    return f"{low:.4f}" if low == high else f"{low:.4f} to {high:.4f}"


def _cell(table: Table, name: str) -> str | None:
    places = [index for index, arm in enumerate(table.arms) if arm.name == name]
    if not places:
        return None
    found, index = table.found[0], places[0]
    low, high = found.intervals[index]
    contrast = found.contrasts[index]
    mark = "" if contrast is None or contrast.p_holm >= LEVEL else " +" if contrast.difference > 0 else " -"
    return f"{found.values[index]:.4f} [{low:.4f}, {high:.4f}]{mark}"

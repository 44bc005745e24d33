"""One table of several tasks: an arm a row, a task a column."""

from userrep import console
from userrep.console import Figure
from userrep.stages.table import Table, arm_names, counted, detectable, left_out, place_of, sign, span


def show_tasks(tables: dict[str, Table]) -> None:
    """Print each arm's first metric on each task, with its interval; bold and signed where it is significant."""
    columns = ["arm", *(f"{task}: {table.found[0].metric}" for task, table in tables.items())]
    names = arm_names(tables)
    rows = [[label, *(_cell(table, name) for table in tables.values())] for name, label in names.items()]
    first = next(iter(tables.values()))
    console.table(f"value and 95 % interval; reference {names[first.reference]}", columns, rows)
    for task, table in tables.items():
        gaps = detectable(table.found[0])
        smallest = f", smallest detectable difference {span(gaps)}" if gaps else ""
        console.note(f"{task}: {counted(table)}, paired{smallest}")
        for told in left_out(table):
            console.warn(f"{task}: {told}")
    console.note("bold, +, -: higher or lower than the reference, p < 0.05 after Holm's correction within a task")


def _cell(table: Table, name: str) -> Figure | None:
    index = place_of(table, name)
    if index is None:
        return None
    found = table.found[0]
    low, high = found.intervals[index]
    mark = sign(found, index)
    return Figure(f"{found.values[index]:.4f} [{low:.4f}, {high:.4f}] {mark or ' '}", bold=bool(mark))

"""A comparison as Markdown tables, every name escaped."""

import re

from userrep.stages.form import Form
from userrep.stages.table import Table, arm_names, conditions, tasks_conditions

_SPECIAL = re.compile(r"[\\`*\[\]<>|]|(?<!\w)_|_(?!\w)")  # an underscore within a word is one


def escape(text: str) -> str:
    """Write text so that Markdown shows it as it is, on one line."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


FORM = Form(
    escape=escape, number=str, bold="**{}**".format, marked="**{}** {}".format, spanned="{} {}".format, none=""
)  # fmt: skip


def task_markdown(table: Table) -> str:
    """Return the tables of one task, a metric each: contrasts with the reference, the arms' size; conditions below."""
    parts = []
    for comparison in table.found:
        good = comparison.metric in table.margins
        heads = FORM.heads((escape(comparison.metric), "differs by", "95 %", "p", "effect"), good)
        parts.append(_framed(heads, [FORM.row(table, comparison, index, good) for index in range(len(table.arms))]))
    return "\n\n".join([*parts, escape(conditions(table))]) + "\n"


def tasks_markdown(tables: dict[str, Table]) -> str:
    """Return one table of several tasks: an arm a row, a task a column."""
    heads = ["arm", *(escape(f"{task}: {table.found[0].metric}") for task, table in tables.items())]
    rows = [
        [escape(label), *(FORM.value(table, name) for table in tables.values())]
        for name, label in arm_names(tables).items()
    ]
    return f"{_framed(heads, rows)}\n\n{escape(tasks_conditions(tables))}\n"


def _framed(heads: list[str], rows: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows))

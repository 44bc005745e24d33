"""A comparison as Markdown tables, every name escaped."""

import re

from userrep.evaluation.significance import Comparison
from userrep.stages.table import Table, arm_names, conditions, place_of, sign, tasks_conditions
from userrep.stages.task_table import EFFORT, interval_text, judged, whole

_SPECIAL = re.compile(r"[\\`*\[\]<>|]|(?<!\w)_|_(?!\w)")  # an underscore within a word is one


def escape(text: str) -> str:
    """Write text so that Markdown shows it as it is, on one line."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def task_markdown(table: Table) -> str:
    """Return the tables of one task, a metric each: arms, contrasts with the reference, size; conditions below."""
    parts = [_metric(table, comparison) for comparison in table.found]
    return "\n\n".join([*parts, escape(conditions(table))]) + "\n"


def tasks_markdown(tables: dict[str, Table]) -> str:
    """Return one table of several tasks: an arm a row, a task a column."""
    heads = ["arm", *(f"{task}: {table.found[0].metric}" for task, table in tables.items())]
    rows = [
        [escape(label), *(_value(table, name) for table in tables.values())]
        for name, label in arm_names(tables).items()
    ]
    return f"{_framed([escape(head) for head in heads], rows)}\n\n{escape(tasks_conditions(tables))}\n"


def _metric(table: Table, comparison: Comparison) -> str:
    good = comparison.metric in table.margins
    heads = ["arm", escape(comparison.metric), "95 %", "differs by", "95 %", "p", "effect"]
    heads += [*(["as good"] if good else []), "trainable", "seconds"]
    return _framed(heads, [_cells(table, comparison, index, good) for index in range(len(table.arms))])


def _cells(table: Table, comparison: Comparison, index: int, good: bool) -> list[str]:
    arm, contrast = table.arms[index], comparison.contrasts[index]
    sizes = [whole(arm.mean(key)) for key in EFFORT if key in ("trainable", "seconds")]
    effort = ["" if size is None else f"{size:,}" for size in sizes]
    cells = [escape(table.labels[arm.name]), f"{comparison.values[index]:.4f}", _span(comparison, index)]
    if contrast is None:
        return [*cells, "reference", "", "", "", *([""] if good else []), *effort]
    difference = f"{contrast.difference:+.4f}"
    cells.append(f"**{difference}**" if contrast.significant else difference)
    cells += [interval_text(contrast.interval, signed=True), f"{contrast.p_holm:.4f}"]
    cells.append("" if contrast.effect is None else f"{contrast.effect:+.2f}")
    return [*cells, *([judged(comparison, index, table) or ""] if good else []), *effort]


def _value(table: Table, name: str) -> str:
    index = place_of(table, name)
    if index is None:
        return ""
    comparison = table.found[0]
    value, mark = f"{comparison.values[index]:.4f}", sign(comparison, index)
    return f"{f'**{value}** {mark}' if mark else value} {_span(comparison, index)}"


def _span(comparison: Comparison, index: int) -> str:
    return interval_text(comparison.intervals[index])


def _framed(heads: list[str], rows: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows))

"""The tables of one task: what each arm cost, then a metric a table, as wide as the terminal allows."""

from typing import Any

from userrep import console
from userrep.console import Figure
from userrep.evaluation.intervals import Interval
from userrep.evaluation.significance import Comparison, verdict
from userrep.stages.table import Table, counted, detectable, left_out, span

EFFORT = {"trainable": "trainable", "delta_bytes": "bytes", "updates": "updates", "seconds": "seconds"}
WIDE = 100  # columns in which the values' own intervals fit too


def show_task(table: Table) -> None:
    """Print the arms with their effort, a table a metric, and the conditions below them."""
    rows = [
        [table.labels[arm.name], len(arm.runs), *(whole(arm.mean(key)) for key in EFFORT), arm.trials]
        for arm in table.arms
    ]
    console.table("arms", ["arm", "runs", *EFFORT.values(), "trials"], rows)
    for comparison in table.found:
        _show(comparison, table)
    _show_conditions(table)


def whole(value: float | None) -> int | None:
    """Round a mean to a whole number."""
    return None if value is None else round(value)


def interval_text(interval: Interval, signed: bool = False) -> str:
    """Write an interval with four digits."""
    low, high = (f"{end:+.4f}" if signed else f"{end:.4f}" for end in interval)
    return f"[{low}, {high}]"


def judged(comparison: Comparison, index: int, table: Table) -> str | None:
    """Return whether an arm is as good as the reference by the metric's margin, None where it has none."""
    contrast, margin = comparison.contrasts[index], table.margins.get(comparison.metric)
    if contrast is None or margin is None:
        return None
    return verdict(contrast.interval, margin, comparison.metric)


def _show(comparison: Comparison, table: Table) -> None:
    """Print one metric's table, and under it the smallest difference it could have found."""
    wide = console.width() >= WIDE
    margin = table.margins.get(comparison.metric)
    columns = ["arm", "value", *(["95 %"] if wide else []), "differs by", "95 %", "p", *(["effect"] if wide else [])]
    rows = [_row(comparison, index, table, wide) for index in range(len(table.arms))]
    gaps = detectable(comparison)
    below = f"smallest detectable difference of {comparison.metric}: {span(gaps)}" if gaps else ""
    if margin is not None:
        columns.append("as good")
        below += f"; as good: within {margin:.4f}" if gaps else ""
    console.table(comparison.metric, columns, rows, below)


def _row(comparison: Comparison, index: int, table: Table, wide: bool) -> list[Any]:
    contrast = comparison.contrasts[index]
    cells: list[Any] = [table.labels[table.arms[index].name], comparison.values[index]]
    if wide:
        cells.append(Figure(interval_text(comparison.intervals[index])))
    if contrast is None:
        return [*cells, Figure("reference"), *([None] * (3 if wide else 2)), *_judgement(comparison, index, table)]
    cells.append(Figure(f"{contrast.difference:+.4f}", bold=contrast.significant))
    cells += [Figure(interval_text(contrast.interval, signed=True)), contrast.p_holm]
    if wide:
        cells.append(None if contrast.effect is None else Figure(f"{contrast.effect:+.2f}"))
    return [*cells, *_judgement(comparison, index, table)]


def _judgement(comparison: Comparison, index: int, table: Table) -> list[str]:
    return [judged(comparison, index, table) or "-"] if comparison.metric in table.margins else []


def _show_conditions(table: Table) -> None:
    paired = table.paired
    console.note(f"{counted(table)}, paired; p after Holm's correction, bold below 0.05")
    for told in left_out(table):
        console.warn(told)
    if len(paired.seeds) == 1:
        console.note("one seed: what differs between seeds is not in these intervals")
    elif single := [table.labels[arm.name] for arm in table.arms if len(arm.pooled) == 1]:
        console.note(f"run with one seed, which stands for all: {', '.join(single)}")

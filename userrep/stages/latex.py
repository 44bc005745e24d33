"""A comparison as a LaTeX table for booktabs, every name escaped."""

from userrep.evaluation.significance import Comparison
from userrep.stages.table import Table, arm_names, conditions, place_of, sign, tasks_conditions
from userrep.stages.task_table import EFFORT, interval_text, judged, whole

ESCAPED = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{character: "\\" + character for character in "&%$#_{}"}, "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip
NONE = "--"


def escape(text: str) -> str:
    """Write text so that LaTeX prints it as it is, on one line."""
    return "".join(ESCAPED.get(character, character) for character in " ".join(text.split()))


def task_latex(table: Table) -> str:
    """Return the table of one task: arms with their size, then each metric's contrasts in a section of its own."""
    good = bool(table.margins)
    columns = ["arm", "trainable", "seconds", "value", "difference", r"95\,\%", "$p$", "effect"]
    lines = [_row([*columns, *(["as good"] if good else [])])]
    for comparison in table.found:
        title = rf"\emph{{{escape(comparison.metric)}}}"
        lines += [r"\midrule", rf"\multicolumn{{{len(columns) + good}}}{{l}}{{{title}}} \\"]
        lines += [_row(_cells(table, comparison, index, good)) for index in range(len(table.arms))]
    return _framed("l" + "r" * (len(columns) - 1) + ("l" if good else ""), lines, escape(conditions(table)))


def tasks_latex(tables: dict[str, Table]) -> str:
    """Return the table of several tasks: an arm a row, a task a column."""
    heads = [escape(f"{task}: {table.found[0].metric}") for task, table in tables.items()]
    lines = [_row(["arm", *heads]), r"\midrule"]
    for name, label in arm_names(tables).items():
        lines.append(_row([escape(label), *(_value(table, name) for table in tables.values())]))
    return _framed("l" + "r" * len(heads), lines, escape(tasks_conditions(tables)))


def _cells(table: Table, comparison: Comparison, index: int, good: bool) -> list[str]:
    arm, contrast = table.arms[index], comparison.contrasts[index]
    sizes = [whole(arm.mean(key)) for key in EFFORT if key in ("trainable", "seconds")]
    cells = [escape(table.labels[arm.name]), *(NONE if size is None else str(size) for size in sizes)]
    cells.append(f"{comparison.values[index]:.4f}")
    if contrast is None:
        return [*cells, "reference", NONE, NONE, NONE, *([NONE] if good else [])]
    difference = f"${contrast.difference:+.4f}$"
    cells.append(rf"\textbf{{\boldmath{difference}}}" if contrast.significant else difference)
    cells += [f"${interval_text(contrast.interval, signed=True)}$", f"{contrast.p_holm:.4f}"]
    cells.append(NONE if contrast.effect is None else f"${contrast.effect:+.2f}$")
    return [*cells, *([judged(comparison, index, table) or NONE] if good else [])]


def _value(table: Table, name: str) -> str:
    index = place_of(table, name)
    if index is None:
        return NONE
    comparison = table.found[0]
    mark = sign(comparison, index)
    value = f"{comparison.values[index]:.4f}"
    shown = rf"\textbf{{{value}}}$^{{{mark}}}$" if mark else value
    return f"{shown} {{\\small ${interval_text(comparison.intervals[index])}$}}"


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _framed(columns: str, lines: list[str], caption: str) -> str:
    begin = ["% \\usepackage{booktabs}", r"\begin{table}", r"\centering"]
    body = [*begin, rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    end = [r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption}}}", r"\end{table}"]
    return "\n".join([*body, *lines, *end]) + "\n"

"""A comparison as a LaTeX table for booktabs, every name escaped."""

from userrep.stages.form import Form
from userrep.stages.table import Table, arm_names, conditions, tasks_conditions

ESCAPED = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{character: "\\" + character for character in "&%$#_{}"}, "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def escape(text: str) -> str:
    """Write text so that LaTeX prints it as it is, on one line."""
    return "".join(ESCAPED.get(character, character) for character in " ".join(text.split()))


FORM = Form(
    escape=escape, number="${}$".format, bold=r"\textbf{{\boldmath{}}}".format, marked=r"\textbf{{{}}}$^{{{}}}$".format,
    spanned=r"{} {{\small ${}$}}".format, none="--",
)  # fmt: skip


def task_latex(table: Table) -> str:
    """Return the table of one task: each metric's contrasts in a section of its own, the arms' size behind them."""
    good = bool(table.margins)
    heads = FORM.heads(("value", "difference", r"95\,\%", "$p$", "effect"), good)
    lines = [_row(heads)]
    for comparison in table.found:
        title = rf"\emph{{{escape(comparison.metric)}}}"
        lines += [r"\midrule", rf"\multicolumn{{{len(heads)}}}{{l}}{{{title}}} \\"]
        lines += [_row(FORM.row(table, comparison, index, good)) for index in range(len(table.arms))]
    return _framed("lrrrrr" + "l" * good + "rr", lines, escape(conditions(table)))


def tasks_latex(tables: dict[str, Table]) -> str:
    """Return the table of several tasks: an arm a row, a task a column."""
    heads = [escape(f"{task}: {table.found[0].metric}") for task, table in tables.items()]
    lines = [_row(["arm", *heads]), r"\midrule"]
    for name, label in arm_names(tables).items():
        lines.append(_row([escape(label), *(FORM.value(table, name) for table in tables.values())]))
    return _framed("l" + "r" * len(heads), lines, escape(tasks_conditions(tables)))


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _framed(columns: str, lines: list[str], caption: str) -> str:
    begin = ["% \\usepackage{booktabs}", r"\begin{table}", r"\centering"]
    body = [*begin, rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    end = [r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption}}}", r"\end{table}"]
    return "\n".join([*body, *lines, *end]) + "\n"

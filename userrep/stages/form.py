"""A form: how the cells of a comparison are written outside the terminal."""

from collections.abc import Callable
from dataclasses import dataclass

from userrep.evaluation.significance import Comparison
from userrep.stages.table import Table, place_of, sign
from userrep.stages.task_table import interval_text, judged, whole

SIZES = ("trainable", "seconds")
Write = Callable[[str], str]


@dataclass(frozen=True)
class Form:
    """How text is escaped, and how a signed number, a bold one and a value with its sign and interval are written."""

    escape: Write
    number: Write
    bold: Write
    marked: Callable[[str, str], str]
    spanned: Callable[[str, str], str]
    none: str

    def heads(self, words: tuple[str, ...], good: bool) -> list[str]:
        """Return the heads of a task's table; `words` name its contrasts."""
        return ["arm", *words, *(["as good"] if good else []), *SIZES]

    def row(self, table: Table, comparison: Comparison, index: int, good: bool) -> list[str]:
        """Return the cells of an arm: its value, its contrast with the reference, and its size."""
        arm, contrast = table.arms[index], comparison.contrasts[index]
        sizes = [self.none if (size := whole(arm.mean(key))) is None else f"{size:,}" for key in SIZES]
        cells = [self.escape(table.labels[arm.name]), f"{comparison.values[index]:.4f}"]
        if contrast is None:
            return [*cells, "reference", *[self.none] * (3 + good), *sizes]
        difference = self.number(f"{contrast.difference:+.4f}")
        cells.append(self.bold(difference) if contrast.significant else difference)
        cells += [self.number(interval_text(contrast.interval, signed=True)), f"{contrast.p_holm:.4f}"]
        cells.append(self.none if contrast.effect is None else self.number(f"{contrast.effect:+.2f}"))
        return [*cells, *([judged(comparison, index, table) or self.none] if good else []), *sizes]

    def value(self, table: Table, name: str) -> str:
        """Return an arm's cell in a table of several tasks: its value, signed where it differs, and its interval."""
        index = place_of(table, name)
        if index is None:
            return self.none
        comparison = table.found[0]
        value, mark = f"{comparison.values[index]:.4f}", sign(comparison, index)
        return self.spanned(self.marked(value, mark) if mark else value, interval_text(comparison.intervals[index]))

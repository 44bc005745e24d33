"""The headline: the one validation number by which runs are listed and sorted."""

from collections.abc import Mapping

from userrep.evaluation.metrics import lower_is_better
from userrep.evaluation.results import OVERALL
from userrep.run import Run

HEADLINES = ("accuracy", "macro_f1", "log_loss", "auc", "ndcg@10", "hr@10", "mrr@10", OVERALL)


def headline(run: Run, asked: str | None = None) -> tuple[str, float] | None:
    """Return name and value of a run's first headline metric on validation, or of `asked`; None where it has none."""
    metrics: Mapping[str, float | None] = run.record.get("metrics") or {}
    names = (asked,) if asked else HEADLINES
    for name in names:
        value = metrics.get(name)
        if value is not None:
            return name, float(value)
    return None


def goodness(found: tuple[str, float] | None) -> tuple[bool, str, float]:
    """Return a sorting key: best first, by metric, runs without one last."""
    if found is None:
        return True, "", 0.0
    name, value = found
    return False, name, value if lower_is_better(name) else -value

"""The report of a result: metrics, intervals and slices, kept in the run and shown."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from userrep import console
from userrep.evaluation.intervals import bootstrap
from userrep.evaluation.per_user import stored, write_per_user
from userrep.evaluation.results import OVERALL, Result
from userrep.evaluation.slices import Slice, slices
from userrep.files import read_json, write_json
from userrep.objectives.objective import Objective
from userrep.run import Run
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared

FILES = {
    "test": ("metrics.json", "per_user.parquet"),
    "valid": ("metrics-valid.json", "per_user-valid.parquet"),
}

Report = dict[str, Any]


def make_report(
    result: Result,
    task: Objective,
    data: Prepared,
    protocol: Protocol,
    split: str,
    weights_hash: str | None,
    more: Sequence[Slice] = (),
) -> Report:
    """Measure a result of the cases that `task` asks for in `split`: all, in its own slices, and in `more`."""
    values, starts = task.slice_values(data, protocol, task.cases(data, protocol, split)), task.leader.slice_starts
    own = [piece for by, each in values.items() for piece in slices(result, by, each, starts=starts.get(by))]
    return {
        "split": split,
        "users": len(np.unique(result.users)),
        "metrics": result.metrics(),
        "intervals": bootstrap(result),
        "slices": [piece.record() for piece in (*own, *more)],
        "weights_hash": weights_hash,
    }


def save_report(run: Run, report: Report, result: Result, data: Prepared, part: str = "", **reading: Any) -> None:
    """Keep the report and the per-user table in the run; a look at test users is recorded in it, with `reading`.

    `part` is a folder in the run, for one of several reports.
    """
    metrics, per_user = (run.path / part / name for name in FILES[report["split"]])
    write_per_user(per_user, result, data.user_ids)
    if report["split"] == "test":
        run.add_reading(split="test", weights_hash=report["weights_hash"], metrics=report["metrics"], **reading)
    write_json(metrics, report)


def read_report(run: Run, split: str, part: str = "") -> Report | None:
    """Return the report of this split that the run holds, if it is whole and of the run's own weights."""
    paths = [run.path / part / name for name in FILES[split]]
    if not all(stored(path).is_file() for path in paths):
        return None
    report: Report = read_json(paths[0])
    return report if report["weights_hash"] == run.weights_hash else None


def show_report(path: Path, report: Report) -> None:
    """Print the metrics with their intervals, then the first metric by slices."""
    rows = []
    for name, value in report["metrics"].items():
        low, high = report["intervals"][name]
        rows.append([name, value, low, high])
    console.note(f"evaluated: {path}")
    console.table(f"{report['users']:,} {report['split']} users", ["metric", "value", "95 % from", "to"], rows)
    if not report["slices"]:
        return
    headline = "ndcg@10" if "ndcg@10" in report["metrics"] else "accuracy"
    pieces = [[p["by"], p["low"], p["high"], p["cases"], p["metrics"][headline]] for p in report["slices"]]
    console.table(f"{headline} by slice", ["slice", "from", "to", "cases", headline], pieces)


def show_reports(reports: dict[Path, Report]) -> None:
    """Print several runs, a row each, with their headline metrics; those of a kind of task share a table."""
    ranked = ("ndcg@10", "hr@10", "mrr@10", "ndcg@10@uni99")
    for names in (("accuracy", "macro_f1", "log_loss", "auc"), ranked, (OVERALL,)):
        alike = {path: report for path, report in reports.items() if names[0] in report["metrics"]}
        if alike:
            rows = [
                [str(path), report["users"], *(report["metrics"].get(name) for name in names)]
                for path, report in alike.items()
            ]
            split = next(iter(alike.values()))["split"]
            console.table(f"{len(alike)} runs, {split}", ["run", "users", *names], rows)

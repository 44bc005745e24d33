"""`userrep runs`: the runs below a folder, filtered, sorted, a line each."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from userrep import console
from userrep.console import Figure
from userrep.errors import DataError, UsageError, suggest
from userrep.groups import VERBS, choices
from userrep.run import Run, list_runs
from userrep.run.record import LOCK
from userrep.stages.headline import goodness, headline
from userrep.stages.request import Request

VERB = "runs"
WIDE = 100  # columns in which the time of making fits too
FINISHED = ("status", "finished")  # goes without saying

Row = dict[str, Any]


def run(request: Request) -> dict[str, Any]:
    """List the runs below `extra["folder"]` that fit `extra["filters"]`, sorted by `extra["sort"]`.

    Raises:
        UsageError: there is no such folder, or no run has such a metric or value of a filter.
    """
    folder, asked = Path(request.extra["folder"]), request.extra.get("metric")
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", "name the folder that holds your runs")
    rows = [describe(found, asked) for found in list_runs(folder, lambda cause: console.warn(f"left out: {cause}"))]
    if asked and rows and all(row["metric"] is None for row in rows):
        known = {name for found in list_runs(folder) for name in found.record.get("metrics") or {}}
        raise UsageError(f"no run has metric {asked!r}", suggest(asked, known))
    filters = {key: value for key, value in request.extra["filters"].items() if value is not None}
    kept = [row for row in rows if all(row[key] == value for key, value in filters.items())]
    if rows and not kept:
        _refuse_unknown(rows, filters)
    kept = _sorted(kept, request.extra.get("sort") or "created")
    _show(folder, kept)
    return {"run": None, "folder": str(folder), "runs": kept}


def describe(run: Run, asked: str | None = None) -> Row:
    """Return what the list says of a run, from its record alone; `method` is the baseline where that made it."""
    record, chosen, found = run.record, _choices(run), headline(run, asked)
    data = (record.get("data") or {}).get("name") or chosen.get("dataset")
    return {
        "run": str(run.path),
        "verb": run.verb,
        "status": status(run),
        "dataset": data,
        "model": chosen.get("model"),
        "method": chosen.get("baseline") or chosen.get("method"),
        "task": record.get("task") or chosen.get("task"),
        "metric": found and found[0],
        "value": found and found[1],
        "seconds": record.get("seconds"),
        "created": record.get("created"),
    }


def _choices(run: Run) -> dict[str, str]:
    try:
        return run.choices
    except DataError:  # its config is lost, its record is not
        return {}


def status(run: Run) -> str:
    """Return finished, running, or stopped: begun by a process that is no more on this machine."""
    if run.finished:
        return "finished"
    try:
        owner = int((run.path / LOCK).read_text(encoding="utf-8"))
        os.kill(owner, 0)  # signal 0 only asks whether it is there
    except PermissionError:
        return "running"
    except (OSError, ValueError, OverflowError):
        return "stopped"
    return "running" if owner > 0 else "stopped"


def _refuse_unknown(rows: Sequence[Row], filters: dict[str, str]) -> None:
    """Raise UsageError for the first filter whose value neither a run nor `conf/` has: a slip of the pen."""
    packaged = {"verb": [*VERBS], "method": choices("method") + choices("baseline")}
    packaged |= {group: choices(group) for group in ("dataset", "task")}
    for key, value in filters.items():
        known = {str(row[key]) for row in rows if row[key] is not None}
        if key in packaged and value not in (*known, *packaged[key]):
            raise UsageError(f"no run has {key} {value!r}", suggest(value, known))


def _sorted(rows: list[Row], by: str) -> list[Row]:
    """Sort by time of making, the newest last, by metric, the best first, or by seconds, the longest first."""
    keys: dict[str, Callable[[Row], Any]] = {
        "created": lambda row: str(row["created"]),
        "metric": lambda row: goodness((row["metric"], row["value"]) if row["metric"] else None),
        "seconds": lambda row: -(row["seconds"] or 0),
    }
    return sorted(rows, key=keys[by])


def _show(folder: Path, rows: Sequence[Row]) -> None:
    """Print a line a run; what all of them share stands above the table once."""
    if not rows:
        console.note(f"no run below {folder}")
        return
    keys = ("verb", "dataset", "model", "method", "task", "metric", "status")
    shared = {key: rows[0][key] for key in keys if len({row[key] for row in rows}) == 1}
    told = [f"{key} {value}" for key, value in shared.items() if value is not None and (key, value) != FINISHED]
    shown = [key for key in keys if key not in shared]
    wide = console.width() >= WIDE
    columns = ["run", *shown, "valid", "seconds", *(["created"] if wide else [])]
    lines = []
    for row in rows:
        path = os.path.relpath(row["run"], folder)
        seconds = None if row["seconds"] is None else Figure(f"{row['seconds']:,.0f}")
        made = [str(row["created"])[:16].replace("T", " ")] if wide else []
        lines.append([path, *(row[key] or "-" for key in shown), row["value"], seconds, *made])
    count = "1 run" if len(rows) == 1 else f"{len(rows):,} runs"
    console.table(", ".join([f"{count} below {folder}", *told]), columns, lines)

"""`userrep show`: one run in full: what it is, what it came from, what it measured, who set which value."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from userrep import console
from userrep.console import Figure
from userrep.errors import UserRepError
from userrep.files import read_json
from userrep.run import Run, open_run
from userrep.run.record import READINGS
from userrep.stages.provenance import Values, values
from userrep.stages.request import Request
from userrep.stages.runs import describe

VERB = "show"
LABEL = 10  # columns of the names of facts
DESCRIPTIVE = ("title", "licence", "citation", "sources", "accept")  # of a data set, long and without effect


def run(request: Request) -> dict[str, Any]:
    """Show the run of `extra["source"]`: its record, its ancestors, its metrics, its config with origins.

    Raises:
        UsageError: there is no run.
    """
    found = open_run(request.extra["source"])
    parents, problem = ancestors(found)
    lost = _lost(found)
    config = {key: pair for key, pair in values(found).items() if key.partition(".")[2] not in DESCRIPTIVE}
    tested, readings = _tested(found), _readings(found.path)
    kept = ("data", "splits", "protocol_hash", "weights", "versions", "machine", "commit", "finished")
    answer = {
        "run": str(found.path),
        "made": describe(found),
        "parents": [str(parent.path) for parent in parents],
        "problem": lost or problem,
        **{key: found.record.get(key) for key in kept},
        "metrics": {"valid": found.record.get("metrics"), "test": tested.get("metrics")},
        "readings": readings,
        "config": {key: {"value": value, "from": origin} for key, (value, origin) in config.items()},
    }
    _show_facts(found, answer, parents, lost, problem)
    _show_metrics(found, tested)
    console.table("config", ["key", "value", "from"], _config_rows(found, config))
    return answer


def _lost(run: Run) -> str | None:
    """Say what is wrong with the weights that a finished run recorded, None where nothing is."""
    try:
        if run.finished and run.weights_hash is not None:
            _ = run.weights
    except UserRepError as error:
        return error.message
    return None


def ancestors(run: Run) -> tuple[list[Run], str | None]:
    """Return the runs that this one was made from, nearest first, and what is wrong with the first that is lost."""
    found: list[Run] = []
    while True:
        try:
            parent = (found[-1] if found else run).parent()
        except UserRepError as error:
            return found, error.message
        if parent is None:
            return found, None
        found.append(parent)


def _tested(run: Run) -> dict[str, Any]:
    path = run.path / "metrics.json"
    found = read_json(path) if path.is_file() else {}
    return found if isinstance(found, dict) else {}


def _readings(folder: Path) -> list[dict[str, Any]]:
    path = folder / READINGS
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:  # cut off by a full disk
            continue
    return [reading for reading in found if isinstance(reading, dict)]


def _show_facts(
    found: Run, answer: Mapping[str, Any], parents: list[Run], lost: str | None, problem: str | None
) -> None:
    made, record = answer["made"], found.record
    names = [made["verb"], made["method"], made["model"]]
    where = [f"task {made['task']}" if made["task"] else "", f"data set {made['dataset']}"]
    console.note(f"{found.path}: {made['status']}")
    _fact("made by", " ".join(name for name in names if name), *where)
    for depth, parent in enumerate(parents):
        _fact("from" if depth == 0 else "from that", str(parent.path), parent.verb)
    if problem:
        _fact("from", f"LOST: {problem}")
    if record.get("data"):
        parts = (record.get("splits") or {}).items()
        splits = [f"{part} {split['name']} fold {split['fold']}" for part, split in parts]
        _fact("data", f"{record['data']['name']} {record['data']['hash'][:8]}", *splits)
        _fact("protocol", str(record.get("protocol_hash")))
    if record.get("weights"):
        weights = record["weights"]
        _fact("weights", f"{weights['file']}, {weights['bytes']:,} bytes", f"sha256 {weights['sha256'][:8]}")
    if lost:
        _fact("weights", f"LOST: {lost}")
    if "trainable" in record:
        _fact("trainable", f"{record['trainable']:,}, {record['trainable_share']:.2%} of full fine-tuning")
    if "best_epoch" in record:
        _fact("trained", f"{record['updates']:,} updates, best epoch {record['best_epoch']}")
    _fact("created", f"{str(record.get('created'))[:16].replace('T', ' ')} UTC", f"{record.get('seconds', 0):,.0f} s")
    versions, machine = record.get("versions") or {}, record.get("machine") or {}
    if record.get("torch"):  # several worked on it, one after the other
        versions = versions | {"torch": ", then ".join(map(str, record["torch"]))}
    _fact("with", *(f"{name} {versions[name]}" for name in ("userrep", "torch", "python") if name in versions))
    _fact("on", str(machine.get("gpu") or machine.get("cpu")), f"{machine.get('cores')} cores")
    if record.get("commit"):
        _fact("commit", record["commit"])
    console.note("")


def _fact(name: str, *parts: str) -> None:
    console.note(f"{name:<{LABEL}}{', '.join(part for part in parts if part)}")


def _show_metrics(found: Run, tested: Mapping[str, Any]) -> None:
    valid, test = found.record.get("metrics") or {}, tested.get("metrics") or {}
    intervals = tested.get("intervals") or {}
    rows: list[list[Any]] = []
    for name in dict.fromkeys((*valid, *test)):
        ends = intervals.get(name)
        span = None if not ends or None in ends else Figure(f"[{ends[0]:.4f}, {ends[1]:.4f}]")
        rows.append([name, valid.get(name), test.get(name), span])
    if not rows:
        return
    readings = _readings(found.path)
    last = f", the last {str(readings[-1].get('time'))[:16].replace('T', ' ')} UTC" if readings else ""
    told = f"readings of test: {len(readings)}{last}"
    columns = ["metric", "valid", "test", "95 %"] if test else ["metric", "valid"]
    console.table("metrics", columns, [row[: len(columns)] for row in rows], told)


def _config_rows(found: Run, config: Values) -> list[list[str]]:
    """Return a row a section with its choice and where most of it is from, below it its keys, and who set others."""
    rows = []
    for group in dict.fromkeys(key.partition(".")[0] for key in config):
        members = {key: pair for key, pair in config.items() if key.partition(".")[0] == group}
        origins = [origin for _, origin in members.values()]
        usual = max(dict.fromkeys(origins), key=origins.count)
        if group in members:
            rows.append([group, _short(members[group][0]), usual])
            continue
        chooser = (found.config.get("origins") or {}).get(group)
        by = f" ({chooser})" if chooser else ""
        rows.append([group, found.choices.get(group, "") + by, usual])
        for key, (value, origin) in members.items():
            rows.append([f"  {key.partition('.')[2]}", _short(value), "" if origin == usual else origin])
    return rows


def _short(value: Any) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

"""The report of a chain: each task as the newest run answers for it, beside what it answered when it was learned."""

import re
from pathlib import Path
from typing import Any

from userrep import console
from userrep.errors import UsageError
from userrep.run import Run
from userrep.sequences.store import Prepared, open_prepared
from userrep.stages.export import export
from userrep.stages.headline import HEADLINES
from userrep.stages.lineage import Served, chain_of, served
from userrep.stages.report import Report, make_report, read_report, save_report
from userrep.stages.request import Request
from userrep.stages.training import choose_device


def evaluate_chain(newest: Run, asked: str, split: str, request: Request) -> dict[str, Any]:
    """Evaluate the tasks `asked` for (all, or numbers and names with commas) on the weights of a chain's newest run.

    Reports are kept in the newest run, a folder a task, and shown again unless `fresh`; those that the ancestors hold
    stay as they are. `extra["export"]` names a folder for a plain run of each task.

    Raises UsageError where the run is no chain, or has not learned a task.
    """
    runs = chain_of(newest)
    names = [name_of(run) for run in runs]
    tasks = _chosen(asked, names)
    folders = {task: f"tasks/{task}-{_harmless(names[task - 1])}" for task in tasks}
    reports: dict[int, Report] = {}
    if not request.fresh:
        found = {task: read_report(newest, split, folder) for task, folder in folders.items()}
        reports = {task: report for task, report in found.items() if report is not None}
    if reports:
        console.note(f"{newest.path} was evaluated before; --fresh evaluates it again")
    to = request.extra.get("export")
    plain: dict[int, str] = {}
    data = open_prepared(request.data_dir, newest.config["dataset"])
    for answering in served(newest, data, choose_device(request.device), [t for t in tasks if to or t not in reports]):
        task = answering.task
        if task not in reports:
            reports[task] = _measure(newest, answering, split, data, folders[task])
        if to:
            plain[task] = export(
                answering.run, answering.encoder, answering.objective, data, Path(to) / Path(folders[task]).name,
                weights=newest, fresh=request.fresh,
            )  # fmt: skip
    answers = [
        {
            "task": task, "name": names[task - 1], "run": str(runs[task - 1].path),
            **{key: reports[task][key] for key in ("users", "metrics", "intervals")},
            "when_learned": (read_report(runs[task - 1], split) or {}).get("metrics"),
            **({"export": plain[task]} if to else {}),
        }
        for task in tasks
    ]  # fmt: skip
    _show(newest, split, answers)
    return {"run": str(newest.path), "split": split, "tasks": answers}


def name_of(run: Run) -> str:
    """Return the task of a finished run as it was chosen, or where there was no choice, as its objective calls it."""
    return run.choices.get("task") or str(run.record["task"])


def _harmless(name: str) -> str:
    """Return a name, which comes from a file, as part of a path that leads nowhere else."""
    return re.sub(r"[^\w.=,+-]", "_", name)


def _chosen(asked: str, names: list[str]) -> list[int]:
    """Return the numbers, in order, of the tasks that were asked for by number or name."""
    if asked.strip() == "all":
        return list(range(1, len(names) + 1))
    chosen: set[int] = set()
    for word in (part.strip() for part in asked.split(",")):
        found = [task for task, name in enumerate(names, start=1) if word in (name, str(task))]
        if not found:
            listed = ", ".join(f"{task} {name}" for task, name in enumerate(names, start=1))
            raise UsageError(f"the chain has no task '{word}'", f"give all, or numbers or names of: {listed}")
        chosen |= set(found)
    return sorted(chosen)


def _measure(newest: Run, answering: Served, split: str, data: Prepared, folder: str) -> Report:
    objective, protocol = answering.objective, answering.protocol
    result = objective.evaluate(answering.encoder, data, protocol, split)
    report = make_report(result, objective, data, protocol, split, newest.weights_hash)
    save_report(newest, report, result, data, folder, task=answering.task, name=answering.name)
    return report


def _show(newest: Run, split: str, answers: list[dict[str, Any]]) -> None:
    """Print a row a task: its headline metric on the newest weights, and what its own run measured, where it did."""
    rows = []
    for answer in answers:
        metric = next(name for name in HEADLINES if name in answer["metrics"])
        low, high = answer["intervals"][metric]
        then = (answer["when_learned"] or {}).get(metric)
        shown = (answer["task"], answer["name"], answer["run"], metric, answer["users"])
        rows.append([*shown, answer["metrics"][metric], low, high, then])
    columns = ["task", "name", "run", "metric", "users", "value", "95 % from", "to", "when learned"]
    told = "when learned: as the task's own run was evaluated, - where it was not"
    console.table(f"{newest.path}: {len(rows)} task(s), {split}", columns, rows, told)

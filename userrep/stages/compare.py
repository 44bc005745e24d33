"""`userrep compare`: runs side by side, with paired intervals of their differences."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from userrep import console
from userrep.errors import UsageError, suggest
from userrep.evaluation.significance import Comparison, Paired, compare, margin_of, pair, verdict
from userrep.run import Run, open_run
from userrep.stages.arms import Arm, group, name_of
from userrep.stages.request import Request
from userrep.stages.tasks_table import Table, show_tasks, span

VERB = "compare"
HEADLINES = ("accuracy", "macro_f1", "log_loss", "auc", "ndcg@10", "hr@10", "mrr@10")
COLUMNS = ["arm", "value", "95 % from", "to", "difference", "95 % from", "to", "p (Holm)", "as good"]
EFFORT = ("trainable", "delta_bytes", "updates", "seconds")


def run(request: Request) -> dict[str, Any]:
    """Compare the runs of `extra["runs"]` by `extra["metrics"]` with the arm of the run `extra["reference"]`.

    Runs of several tasks are compared task by task and shown in one table of their headline metric.

    Raises:
        UsageError: protocols differ (unless `extra["force"]`), a run was not evaluated, a metric is unknown, or
            the runs share no seed.
        DataError: the runs share no user.
    """
    paths = [Path(path) for path in request.extra["runs"]]
    reference = Path(request.extra.get("reference") or paths[0])
    if reference.resolve() not in {path.resolve() for path in paths}:
        paths.insert(0, reference)
    runs = _without_repeats(paths)
    first = next(run for run in runs if _same(run, reference))
    asked, force = tuple(request.extra.get("metrics") or ()), bool(request.extra.get("force"))
    tasks = _by_task(runs)
    if len(tasks) == 1:
        table = _measure(runs, first, asked, force)
        _show_effort(table.arms)
        for comparison in table.found:
            _show(comparison, table.arms, table.place)
        _show_conditions(table.paired, table.arms)
        return _answer(table)
    tables = {task: _measure(members, first, asked, force) for task, members in tasks.items()}
    show_tasks(tables)
    return {"run": None, "tasks": {task: _answer(table) for task, table in tables.items()}}


def _by_task(runs: list[Run]) -> dict[str, list[Run]]:
    tasks: dict[str, list[Run]] = {}
    for run in runs:
        tasks.setdefault(str(run.record.get("task")), []).append(run)
    return tasks


def _measure(runs: list[Run], reference: Run, asked: tuple[str, ...], force: bool) -> Table:
    """Compare runs of one task with the arm of `reference`, or with its namesake where it is of another task."""
    protocol = _one_protocol(runs, force)
    arms = group(runs)
    held = [index for index, arm in enumerate(arms) if any(_same(run, reference.path) for run in arm.runs)]
    held = held or [index for index, arm in enumerate(arms) if arm.name == name_of(reference)]
    place = held[0] if held else 0
    paired = pair([arm.pooled for arm in arms])
    found = [compare(paired, metric, place) for metric in _metrics(paired, asked)]
    return Table(arms, paired, found, place, protocol)


def _without_repeats(paths: list[Path]) -> list[Run]:
    return [open_run(path) for path in {path.resolve(): path for path in paths}.values()]


def _same(run: Run, path: Path) -> bool:
    return run.path.resolve() == path.resolve()


def _one_protocol(runs: list[Run], force: bool) -> str | None:
    """Return the hash that all runs share; with `force`, None and a warning where they differ."""
    hashes: dict[Any, Run] = {}
    for run in runs:
        hashes.setdefault(run.record.get("protocol_hash"), run)
    if len(hashes) == 1 and None not in hashes:
        return str(next(iter(hashes)))
    listed = ", ".join(f"{run.path} ({found or 'unknown'})" for found, run in hashes.items())
    if not force:
        raise UsageError(
            f"these runs follow unlike protocols: {listed}",
            "compare runs of one data set, split, task, history and readout, or give --force",
        )
    console.warn(f"runs of unlike protocols are compared: {listed}")
    return None


def _metrics(paired: Paired, asked: tuple[str, ...]) -> list[str]:
    known = set.intersection(*(set(row[0].metrics()) for row in paired.arms))
    for name in asked:
        if name not in known:
            raise UsageError(f"there is no metric {name!r} here", suggest(name, known))
    return list(asked) or [name for name in HEADLINES if name in known]


def _show_effort(arms: list[Arm]) -> None:
    """Print what each arm cost, averaged over its runs, and how many settings were tried for it."""
    rows = [[arm.name, len(arm.runs), *(_whole(arm.mean(key)) for key in EFFORT), arm.trials] for arm in arms]
    console.table("arms", ["arm", "runs", "trainable", "delta bytes", "updates", "seconds", "trials a run"], rows)


def _show(comparison: Comparison, arms: list[Arm], place: int) -> None:
    """Print one metric's table, and under it the smallest difference it could have found."""
    margin = margin_of(comparison.metric, comparison.values[place])
    rows = []
    for index, arm in enumerate(arms):
        contrast = comparison.contrasts[index]
        cells: list[Any] = [arm.name, comparison.values[index], *comparison.intervals[index]]
        if contrast is None:
            cells += [None, None, None, None, "(reference)"]
        else:
            good = "-" if margin is None else verdict(contrast.interval, margin)
            cells += [contrast.difference, *contrast.interval, contrast.p_holm, good]
        rows.append(cells)
    console.table(comparison.metric, COLUMNS, rows)
    detectable = [contrast.detectable for contrast in comparison.contrasts if contrast is not None]
    if detectable:
        console.note(
            f"smallest detectable difference of {comparison.metric} (80 % power, 5 % two-sided): "
            f"{span(detectable)}"
            + ("" if margin is None else f"; as good: within {margin:.4f} of {arms[place].name}")
        )


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _show_conditions(paired: Paired, arms: list[Arm]) -> None:
    users = len(np.unique(np.concatenate(paired.users)))
    console.note(f"{users:,} users, {len(paired.seeds)} seed(s), paired")
    if paired.left_out:
        console.warn(f"{paired.left_out:,} users are left out: not all arms have tested them (folds missing?)")
    if len(paired.seeds) == 1:
        console.note("one seed: what differs between seeds is not in these intervals")
    else:
        single = [arm.name for arm in arms if len(arm.pooled) == 1]
        if single:
            console.note(f"run with one seed, which stands for all: {', '.join(single)}")


def _answer(table: Table) -> dict[str, Any]:
    return {
        "run": None,
        "protocol_hash": table.protocol,
        "reference": table.arms[table.place].name,
        "users": table.users,
        "users_left_out": table.paired.left_out,
        "seeds": len(table.paired.seeds),
        "arms": [_arm_answer(table.found, arm, index, table.place) for index, arm in enumerate(table.arms)],
    }


def _arm_answer(found: list[Comparison], arm: Arm, index: int, place: int) -> dict[str, Any]:
    metrics = {}
    for comparison in found:
        contrast = comparison.contrasts[index]
        cell: dict[str, Any] = {"value": comparison.values[index], "interval": comparison.intervals[index]}
        if contrast is not None:
            margin = margin_of(comparison.metric, comparison.values[place])
            between = asdict(contrast)
            cell |= {"difference_interval": between.pop("interval"), **between}
            cell["verdict"] = None if margin is None else verdict(contrast.interval, margin)
        metrics[comparison.metric] = cell
    return {
        "arm": arm.name,
        "runs": [str(run.path) for run in arm.runs],
        **{key: arm.mean(key) for key in EFFORT},
        "trials": arm.trials,
        "metrics": metrics,
    }

"""`userrep compare`: runs side by side, with paired intervals of their differences."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from userrep import console
from userrep.errors import UsageError, suggest
from userrep.evaluation.significance import Comparison, Paired, compare, margin_of, pair, verdict
from userrep.run import Run, open_run
from userrep.stages.arms import Arm, group
from userrep.stages.request import Request

VERB = "compare"
HEADLINES = ("accuracy", "macro_f1", "log_loss", "auc", "ndcg@10", "hr@10", "mrr@10")
COLUMNS = [
    "arm", "runs", "value", "95 % from", "to", "difference", "95 % from", "to", "p (Holm)", "as good",
    "trainable", "delta bytes", "seconds",
]  # fmt: skip


def run(request: Request) -> dict[str, Any]:
    """Compare the runs of `extra["runs"]` by `extra["metrics"]` with the arm of the run `extra["reference"]`.

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
    protocol = _one_protocol(runs, bool(request.extra.get("force")))
    arms = group(runs)
    place = next(i for i, arm in enumerate(arms) if any(_same(run, reference) for run in arm.runs))
    paired = pair([arm.pooled for arm in arms])
    metrics = _metrics(paired, tuple(request.extra.get("metrics") or ()))
    found = [compare(paired, metric, place) for metric in metrics]
    for comparison in found:
        _show(comparison, arms, place)
    _show_conditions(paired, arms)
    return _answer(found, arms, paired, place, protocol)


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


def _show(comparison: Comparison, arms: list[Arm], place: int) -> None:
    """Print one metric's table, and under it the smallest difference it could have found."""
    margin = margin_of(comparison.metric, comparison.values[place])
    rows = []
    for index, arm in enumerate(arms):
        contrast = comparison.contrasts[index]
        cells: list[Any] = [arm.name, len(arm.runs), comparison.values[index], *comparison.intervals[index]]
        if contrast is None:
            cells += [None, None, None, None, "(reference)"]
        else:
            good = "-" if margin is None else verdict(contrast.interval, margin)
            cells += [contrast.difference, *contrast.interval, contrast.p_holm, good]
        rows.append([*cells, *(_whole(arm.mean(key)) for key in ("trainable", "delta_bytes", "seconds"))])
    console.table(comparison.metric, COLUMNS, rows)
    detectable = [contrast.detectable for contrast in comparison.contrasts if contrast is not None]
    if detectable:
        console.note(
            f"smallest detectable difference of {comparison.metric} (80 % power, 5 % two-sided): "
            f"{min(detectable):.4f} to {max(detectable):.4f}"
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


def _answer(
    found: list[Comparison], arms: list[Arm], paired: Paired, place: int, protocol: str | None
) -> dict[str, Any]:
    return {
        "run": None,
        "protocol_hash": protocol,
        "reference": arms[place].name,
        "users": len(np.unique(np.concatenate(paired.users))),
        "users_left_out": paired.left_out,
        "seeds": len(paired.seeds),
        "arms": [_arm_answer(found, arm, index, place) for index, arm in enumerate(arms)],
    }


def _arm_answer(found: list[Comparison], arm: Arm, index: int, place: int) -> dict[str, Any]:
    metrics = {}
    for comparison in found:
        contrast = comparison.contrasts[index]
        cell: dict[str, Any] = {"value": comparison.values[index], "interval": comparison.intervals[index]}
        if contrast is not None:
            margin = margin_of(comparison.metric, comparison.values[place])
            cell |= asdict(contrast)
            cell["verdict"] = None if margin is None else verdict(contrast.interval, margin)
        metrics[comparison.metric] = cell
    return {
        "arm": arm.name,
        "runs": [str(run.path) for run in arm.runs],
        "trainable": _whole(arm.mean("trainable")),
        "delta_bytes": _whole(arm.mean("delta_bytes")),
        "seconds": arm.mean("seconds"),
        "metrics": metrics,
    }

"""`userrep chain`: what a chain of tasks keeps, gains and costs, measured after each of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from userrep import console
from userrep.console import Figure
from userrep.errors import UsageError
from userrep.evaluation.continual import average, backward_transfer, forward_transfer, kept
from userrep.run import Run, open_run
from userrep.sequences.store import open_prepared
from userrep.stages import pictures
from userrep.stages.chain_effort import Capacity, capacity, efforts, updates
from userrep.stages.chain_matrix import Matrix, measure_chain, told_by
from userrep.stages.chain_report import name_of
from userrep.stages.evaluate import evaluate_run
from userrep.stages.lineage import chain_of
from userrep.stages.request import Request
from userrep.stages.restore import check_trained, restore
from userrep.stages.training import choose_device

VERB = "chain"


def run(request: Request) -> dict[str, Any]:
    """Measure the chain that ends in `extra["source"]`, on `extra["split"]`, anew each time: nothing is cached.

    `extra["single"]` names runs of one task each that the chain is held against, `extra["metrics"]` metrics to tell
    tasks by, `extra["plot"]` a folder for pictures.

    Raises:
        UsageError: the run is no chain, or a single run is of no task of it or of another protocol.
        VerificationError: a method that certifies its chain has let an earlier task answer otherwise.
    """
    newest, split = open_run(request.extra["source"]), request.extra.get("split") or "test"
    check_trained(newest)
    runs = chain_of(newest)
    names, metrics = [name_of(one) for one in runs], told_by(runs, request.extra.get("metrics") or ())
    singles = _singles(runs, names, request.extra.get("single") or ())
    folder = request.extra.get("plot")
    if folder is not None:
        pictures.check()
    data, device = open_prepared(request.data_dir, newest.config["dataset"]), choose_device(request.device)
    matrix = measure_chain(runs, names, metrics, data, split, device)
    owned, effort = capacity(restore(newest, data)[0], len(runs)), efforts(runs)
    answer = {
        "run": str(newest.path), "split": split, "tasks": _tasks(runs, names, matrix, effort, owned),
        "matrix": matrix.values.tolist(), "metrics": matrix.measured, "average": average(matrix.values),
        "backward_transfer": backward_transfer(matrix.values, matrix.signs), "exact": matrix.exact,
        "forward_transfer": _forward(matrix, names, singles, effort, split, request) if singles else None,
        "capacity": owned and owned.record(), "backbones": 1, "pictures": [],
    }  # fmt: skip
    _show(newest, names, matrix, answer)
    if folder is not None:
        answer["pictures"] = _draw(Path(folder), names, owned)
    return answer


def _singles(runs: Sequence[Run], names: Sequence[str], paths: Sequence[Path]) -> dict[int, Run]:
    """Return the runs of one task each, by the place of their task in the chain.

    Raises UsageError for one of no task of the chain, a second one of a task, one of unlike data, split or protocol.
    """
    found: dict[int, Run] = {}
    learned = [one.record["task"] for one in runs]
    for path in paths:
        single = open_run(path)
        task = single.record.get("task")
        if task not in learned:
            raise UsageError(f"{path} is of task {task}, which the chain lacks", f"its tasks: {', '.join(learned)}")
        place = learned.index(task)
        if place in found:
            raise UsageError(f"{found[place].path} and {path} are both of {names[place]}", "name one for each task")
        for key in ("protocol_hash", "splits"):
            if single.record.get(key) != runs[place].record.get(key):
                raise UsageError(
                    f"{path} was measured under another protocol than {runs[place].path}: {key} differs",
                    f"make it with the chain's data, fold and protocol: userrep show {runs[place].path}",
                )
        found[place] = single
    return found


def _forward(
    matrix: Matrix, names: Sequence[str], singles: dict[int, Run], effort: Sequence[dict[str, Any]], split: str,
    request: Request,
) -> dict[str, Any]:  # fmt: skip
    """Hold each task, as it was when it was learned, against its single run; updates tell what each was given."""
    alone, tasks = np.full(len(names), np.nan), []
    for place, single in sorted(singles.items()):
        metric, sign = matrix.names[place], int(matrix.signs[place])
        alone[place] = evaluate_run(single, split, request)["metrics"][metric]
        gain = sign * (float(matrix.values[place, place]) - float(alone[place]))
        given = {"updates": effort[place]["updates"], "single_updates": updates(single)}
        what = {"task": place + 1, "name": names[place], "run": str(single.path), "metric": metric}
        tasks.append({**what, "single": float(alone[place]), "gain": gain, **given})
    return {"value": forward_transfer(matrix.values, alone, matrix.signs), "tasks": tasks, "backbones": len(tasks)}


def _tasks(
    runs: Sequence[Run], names: Sequence[str], matrix: Matrix, effort: Sequence[dict[str, Any]], owned: Capacity | None
) -> list[dict[str, Any]]:
    changes = [*kept(matrix.values, matrix.signs).tolist(), None]
    shares = [None] * len(runs) if owned is None else owned.shares.tolist()
    return [
        {
            "task": place + 1, "name": names[place], "run": str(one.path), "metric": matrix.names[place],
            "learned": float(matrix.values[place, place]), "now": float(matrix.values[-1, place]),
            "change": changes[place], "exact": all(row[place] for row in matrix.same[place:]), "share": shares[place],
            **effort[place],
        }
        for place, one in enumerate(runs)
    ]  # fmt: skip


def _draw(folder: Path, names: Sequence[str], owned: Capacity | None) -> list[str]:
    from userrep.stages import chain_pictures

    if owned is None:
        console.warn("no pictures: the weights of this chain belong to no task")
        return []
    return [str(path) for path in chain_pictures.draw(folder, names, owned)]


def _show(newest: Run, names: Sequence[str], matrix: Matrix, answer: dict[str, Any]) -> None:
    tasks = [f"{task} {name}" for task, name in enumerate(names, start=1)]
    columns = ["after task", *(f"{task}\n{metric}" for task, metric in zip(tasks, matrix.names, strict=True))]
    rows: list[list[Any]] = []
    for task, values in zip(tasks, matrix.values, strict=True):
        rows.append([task, *(None if np.isnan(value) else float(value) for value in values)])
    console.table(f"{newest.path}: {len(names)} task(s), {answer['split']}; a row an encoder", columns, rows)
    columns = ["task", "learned", "now", "change", "share", "updates", "seconds", "trainable", "bytes"]
    rows = []
    for task in answer["tasks"]:
        change = "-" if task["change"] is None else _change(task["change"], task["exact"])
        share = None if task["share"] is None else Figure(f"{task['share']:.1%}")
        seconds = None if task["seconds"] is None else round(task["seconds"])
        cost = (task["updates"], seconds, task["trainable"], task["bytes"])
        rows.append([f"{task['task']} {task['name']}", task["learned"], task["now"], Figure(change), share, *cost])
    console.table("tasks, of one backbone; share: of the weights that tasks own", columns, rows, _below(answer))
    forward = answer["forward_transfer"]
    if forward:
        rows = [
            [f"{one['task']} {one['name']}", one["metric"], one["single"], Figure(f"{one['gain']:+.4f}"),
             one["updates"], one["single_updates"], one["run"]] for one in forward["tasks"]
        ]  # fmt: skip
        columns = ["task", "metric", "single", "gain", "updates", "single's", "run"]
        below = f"forward transfer {forward['value']:+.4f}; {forward['backbones']} backbone(s) beside one"
        console.table("against models of one task", columns, rows, below)


def _change(change: float, exact: bool) -> str:
    return "0 (exact)" if exact else f"{change:+.4f}"


def _below(answer: dict[str, Any]) -> str:
    """Tell the means; zero is called exact where no answer to any case has changed in a bit."""
    back = answer["backward_transfer"]
    told = "- (one task)" if back is None else _change(back, answer["exact"])
    free = f"; free {answer['capacity']['free'][-1]:.1%}" if answer["capacity"] else ""
    return f"average {answer['average']:.4f}; backward transfer {told}{free}"

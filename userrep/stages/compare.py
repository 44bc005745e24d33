"""`userrep compare`: runs side by side, with paired intervals of their differences."""

from pathlib import Path
from typing import Any

from userrep import console
from userrep.errors import DataError, UsageError, suggest
from userrep.evaluation.significance import Paired, compare, margin_of, pair
from userrep.files import replacing
from userrep.run import Run, open_run
from userrep.stages.across_tasks import show_tasks
from userrep.stages.agreement import one_protocol
from userrep.stages.arms import Arm, divided, group, name_of, replicate_name
from userrep.stages.headline import HEADLINES
from userrep.stages.latex import task_latex, tasks_latex
from userrep.stages.markdown import task_markdown, tasks_markdown
from userrep.stages.request import Request
from userrep.stages.resume import to_go_on
from userrep.stages.table import Table
from userrep.stages.task_table import EFFORT, judged, show_task

VERB = "compare"
FORMS = {"latex": (task_latex, tasks_latex), "markdown": (task_markdown, tasks_markdown)}  # of one task, of several


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
    if begun := next((run for run in runs if not run.finished), None):
        raise UsageError(f"{begun.path} is not finished", to_go_on(begun))
    first = next(run for run in runs if _same(run, reference))
    split = request.extra.get("split") or "test"
    if "-" in (request.extra.get(form) for form in FORMS):
        console.reserve_stdout()
    tables = {task: _measure(members, first, split, request.extra) for task, members in _by_task(runs).items()}
    answers = {task: _answer(table) for task, table in tables.items()}
    if len(tables) == 1:
        show_task(next(iter(tables.values())))
    else:
        show_tasks(tables)
    _write(tables, request.extra)
    told = {"tasks": answers} if len(tables) > 1 else next(iter(answers.values()))
    return {"run": None, "split": split, **told}


def _by_task(runs: list[Run]) -> dict[str, list[Run]]:
    tasks: dict[str, list[Run]] = {}
    for run in runs:
        tasks.setdefault(str(run.record.get("task")), []).append(run)
    return tasks


def _measure(runs: list[Run], reference: Run, split: str, asked: dict[str, Any]) -> Table:
    """Compare runs of one task with the arm of `reference`, or with its namesake where it is of another task."""
    protocol = one_protocol(runs, bool(asked.get("force")))
    arms = group(runs, split)
    held = [index for index, arm in enumerate(arms) if any(_same(run, reference.path) for run in arm.runs)]
    held = held or [index for index, arm in enumerate(arms) if arm.name == name_of(reference)]
    place = held[0] if held else 0
    if not held:
        told = f"{reference.path} has no namesake among the runs of {runs[0].record.get('task')}"
        console.warn(f"{told}: they are held against {arms[place].name}")
    paired = _paired(arms)
    found = [compare(paired, metric, place) for metric in _metrics(paired, tuple(asked.get("metrics") or ()))]
    margins = {one.metric: margin_of(one.metric, one.values[place], asked.get("margin")) for one in found}
    known = {metric: margin for metric, margin in margins.items() if margin is not None}
    return Table(arms, paired, found, place, protocol, known)


def _paired(arms: list[Arm]) -> Paired:
    """Pair the arms' users and leave out the runs of seeds that not all have.

    Where they share no user, say what made runs that look alike arms of their own.
    """
    results = [arm.pooled for arm in arms]
    try:
        paired = pair(results)
    except DataError as error:
        raise DataError(error.message, divided(arms) or error.hint) from error
    if paired.seeds_left_out:
        for arm in arms:
            arm.keep(paired.seeds)
    return paired


def _without_repeats(paths: list[Path]) -> list[Run]:
    return [open_run(path) for path in {path.resolve(): path for path in paths}.values()]


def _same(run: Run, path: Path) -> bool:
    return run.path.resolve() == path.resolve()


def _metrics(paired: Paired, asked: tuple[str, ...]) -> list[str]:
    known = set.intersection(*(set(row[0].metrics()) for row in paired.arms))
    for name in asked:
        if name not in known:
            raise UsageError(f"there is no metric {name!r} here", suggest(name, known))
    return list(asked) or [name for name in HEADLINES if name in known]


def _write(tables: dict[str, Table], asked: dict[str, Any]) -> None:
    """Write the table in the forms that were asked for, each to its file or to stdout."""
    for form, (of_one, of_several) in FORMS.items():
        if (to := asked.get(form)) is None:
            continue
        text = of_one(next(iter(tables.values()))) if len(tables) == 1 else of_several(tables)
        if to == "-":
            console.write(text.rstrip())
            continue
        with replacing(Path(to)) as temporary:
            temporary.write_text(text, encoding="utf-8")
        console.note(f"written: {to}")


def _answer(table: Table) -> dict[str, Any]:
    return {
        "protocol_hash": table.protocol,
        "reference": table.reference,
        "users": table.users,
        "users_left_out": table.paired.left_out,
        "seeds": len(table.paired.seeds),
        "seeds_left_out": [replicate_name(seed) for seed in table.paired.seeds_left_out],
        "margins": table.margins,
        "arms": [_arm_answer(table, arm, index) for index, arm in enumerate(table.arms)],
    }


def _arm_answer(table: Table, arm: Arm, index: int) -> dict[str, Any]:
    metrics = {}
    for comparison in table.found:
        judgement = {} if index == table.place else {"verdict": judged(comparison, index, table)}
        metrics[comparison.metric] = comparison.record(index) | judgement
    return {
        "arm": arm.name,
        "runs": [str(run.path) for run in arm.runs],
        **{key: arm.mean(key) for key in EFFORT},
        "trials": arm.trials,
        "metrics": metrics,
    }

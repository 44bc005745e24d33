"""Chaining: several tasks in one command, each a run of its own, all checked before the first is trained."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from userrep import console
from userrep.build import build
from userrep.errors import ConfigError, UsageError, UserRepError
from userrep.files import to_yaml
from userrep.methods.method import Method
from userrep.objectives.objective import Objective
from userrep.run import Run, default_path
from userrep.run.record import RECORD
from userrep.sequences.store import open_prepared
from userrep.stages.attach import VERB, Attached, rehearse
from userrep.stages.certificate import check_certified
from userrep.stages.chain_audit import check_chain
from userrep.stages.inherit import given
from userrep.stages.lineage import chain_of, lineage
from userrep.stages.request import Request
from userrep.stages.restore import base_encoder, check_data, check_trained, uses_base

TASKS, CHAIN = "tasks", "chain"
PREVIOUS, BASE = "previous", "base"  # where a task starts: from the run of the task before it, or all from one run


@dataclass(frozen=True)
class Asked:
    """The tasks of a command in their order, where each starts (None: as the method does), and the rest of it."""

    tasks: tuple[str, ...]
    start: str | None
    request: Request


@dataclass(frozen=True)
class Steps:
    """How a transfer finds its base, composes its config, makes its run, and tells of it."""

    base: Callable[[Request], Run]
    compose: Callable[[Run, Request], dict[str, Any]]
    make: Callable[[Run, Request, dict[str, Any], Path], Run]
    told: Callable[[Run, Run], dict[str, Any]]


def asked(request: Request) -> Asked | None:
    """Return what `tasks=[...]` and `chain=...` ask for, None where no tasks are listed.

    Raises:
        UsageError: the list is none, names a task twice, or stands beside what is for one task.
    """
    text, start = given(request, TASKS), given(request, CHAIN)
    if text is None:
        if start is not None:
            raise UsageError(f"{CHAIN}={start} is for a list of tasks", f"give {TASKS}=[...], or leave it out")
        return None
    if start not in (None, PREVIOUS, BASE):
        raise UsageError(f"{CHAIN} is '{start}'", f"choose from {PREVIOUS}, {BASE}")
    tasks = _listed(text)
    twice = [task for index, task in enumerate(tasks) if task in tasks[:index]]
    if twice:
        raise UsageError(f"task {twice[0]} is in {TASKS} twice", "name each task once")
    if given(request, "task") is not None:
        raise UsageError(f"both task={given(request, 'task')} and {TASKS} are given", "give one of the two")
    if request.extra.get("controls"):
        raise UsageError(f"--controls is for one task, and {TASKS} lists several", "give each control its own command")
    rest = tuple(word for word in request.overrides if word.partition("=")[0].lstrip("+~") not in (TASKS, CHAIN))
    # A partial run goes on anyway, and the config is always typed: there is no other run that --resume could mean.
    return Asked(tasks, start, replace(request, overrides=rest, resume=False))


def _listed(text: str) -> tuple[str, ...]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = None
    if not isinstance(found, list) or not found or not all(isinstance(name, str) for name in found):
        raise UsageError(f"{TASKS}={text} is no list of tasks", f"write '{TASKS}=[gender,age]', quoted for the shell")
    return tuple(found)


def run_tasks(wanted: Asked, steps: Steps) -> dict[str, Any]:
    """Make a run for each task, after all of them were checked; those that are finished stay as they are.

    Raises:
        UserRepError: a task cannot be learned here, named before anything is trained; or its training fails.
    """
    request, base = wanted.request, steps.base(wanted.request)
    check_trained(base)
    configs = {
        task: steps.compose(base, replace(request, overrides=(*request.overrides, f"task={task}")))
        for task in wanted.tasks
    }
    start = wanted.start or _usual(configs.values())
    _check_names(base, configs, start)
    places = _places(base, wanted, start)
    answer = {"run": None, "base": str(base.path), "method": _method_name(configs), CHAIN: start}
    if request.dry_run:
        return answer | {"runs": _planned(base, configs, places, start, request)}
    _rehearse(base, configs, start, request)
    runs, before = [], base
    for number, (task, config) in enumerate(configs.items(), start=1):
        console.note(f"task {number} of {len(configs)}: {task}")
        path = places.get(task) or default_path(request.runs_dir, VERB, config, before)
        made = steps.make(before, request, config, path)
        runs.append(steps.told(made, before))
        before = made if start == PREVIOUS else base
    console.note(f"{len(runs)} task(s) learned, each from {'the run before it' if start == PREVIOUS else base.path}")
    return answer | {"run": str(before.path) if start == PREVIOUS else None, "runs": runs}


def check_new(base: Run, config: dict[str, Any]) -> None:
    """Raise UsageError for a task that an ancestor has learned already, where runs answer for all their ancestors."""
    method: Method = build(config["method"])
    if method.certified:
        _check_not_learned(base, config)


def _usual(configs: Iterable[dict[str, Any]]) -> str:
    methods: list[Method] = [build(config["method"]) for config in configs]
    return PREVIOUS if any(method.certified for method in methods) else BASE


def _method_name(configs: dict[str, dict[str, Any]]) -> str:
    return str(next(iter(configs.values()))["choices"]["method"])


def _check_names(base: Run, configs: dict[str, dict[str, Any]], start: str) -> None:
    """Raise for tasks that the chain would learn twice, and for methods that hand nothing on."""
    if start == BASE:
        return
    named: dict[str, str] = {}
    for task, config in configs.items():
        if not uses_base(config):
            name = config["choices"]["method"]
            raise ConfigError(
                f"method {name} starts from random weights: no task would learn from the one before",
                f"give {CHAIN}={BASE}, or another method",
            )
        _check_not_learned(base, config)
        objective: Objective = build(config["task"])
        if objective.task_name in named:
            raise UsageError(
                f"{named[objective.task_name]} and {task} are one task, {objective.task_name}", "leave one of them out"
            )
        named[objective.task_name] = task


def _check_not_learned(base: Run, config: dict[str, Any]) -> None:
    objective: Objective = build(config["task"])
    for run in lineage(base):
        if run.record.get("task") == objective.task_name:
            raise UsageError(
                f"the chain of {base.path} has learned {objective.task_name} already: {run.path}",
                "name another task, or begin another chain from the pre-trained base",
            )


def _places(base: Run, wanted: Asked, start: str) -> dict[str, Path]:
    """Return the folders of the runs below `--run`: by number and task in a chain, else by task; none without it."""
    folder = wanted.request.run
    if folder is None:
        return {}
    if (folder / RECORD).exists():
        raise UsageError(f"--run {folder} is a run, and {TASKS} needs a folder for several", "name another folder")
    if start == BASE:
        return {task: folder / task for task in wanted.tasks}
    before = len(chain_of(base)) if base.record.get("parent") else 1
    return {task: folder / f"{before + number}-{task}" for number, task in enumerate(wanted.tasks, start=1)}


def _rehearse(base: Run, configs: dict[str, dict[str, Any]], start: str, request: Request) -> None:
    """Do all but the training: methods, heads and splits must fit, each encoder as the task before would leave it."""
    data = open_prepared(request.data_dir, base.config["dataset"])
    check_data(base, data)
    encoder = None
    planned: list[Attached] = []
    for task, config in configs.items():
        if encoder is None or start == BASE:
            encoder = base_encoder(config, base, data)
        try:
            planned.append(rehearse(encoder, config, base, data))
            check_certified(planned[-1].method, base)
        except UserRepError as error:
            raise type(error)(f"task {task}: {error.message}", error.hint) from error
    chains = [planned] if start == PREVIOUS else [[one] for one in planned]
    for chain in chains:
        *earlier, last = [(one.protocol, one.objective) for one in chain]
        if uses_base(next(iter(configs.values()))):
            check_chain(base, data, *last, planned=earlier)


def _planned(
    base: Run, configs: dict[str, dict[str, Any]], places: dict[str, Path], start: str, request: Request
) -> list[dict[str, Any]]:
    """Show what would be made; where a default folder hangs on weights that are not there yet, it is None."""
    found: list[dict[str, Any]] = []
    for task, config in configs.items():
        known = places.get(task)
        if known is None and (start == BASE or not found):
            known = default_path(request.runs_dir, VERB, config, base)
        console.note(f"# {task} would go to {known or 'a folder named after the weights of the task before'}")
        console.note(to_yaml(config).rstrip())
        found.append({"task": task, "run": known and str(known), "config": config})
    return found

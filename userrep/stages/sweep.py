"""`userrep sweep`: one command with lists in it, a file of commands, or a search, worked off by child processes."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from userrep.board import board
from userrep.errors import UsageError
from userrep.files import digest
from userrep.signals import graceful
from userrep.stages.rehearsal import Rehearse, completed, placed, rehearsed, sent
from userrep.stages.request import Request
from userrep.stages.sweep_aim import aim_of
from userrep.stages.sweep_report import Teller, planned, report
from userrep.sweep.axes import trials as product_of
from userrep.sweep.command_list import read_list
from userrep.sweep.launch import Launcher, Local
from userrep.sweep.ledger import Ledger
from userrep.sweep.on_ray import on_ray
from userrep.sweep.queue import Listed, Queue, Source
from userrep.sweep.search import Search
from userrep.sweep.slots import gpu_slots, processor_cores, processor_slots, visible_gpus, with_threads
from userrep.sweep.space import Space, space_of
from userrep.sweep.trial import Trial

VERB, FOLDER = "sweep", "sweeps"


@dataclass(frozen=True)
class Asked:
    """What only a sweep asks for."""

    words: tuple[str, ...]
    file: Path | None
    gpus: str | None
    jobs_per_gpu: int | None
    jobs: int | None
    on: str | None
    cpus_per_trial: int | None
    search: str | None
    trials: int | None
    by: str | None
    pruner: str
    search_seed: int
    rehearse: Rehearse  # checks a command without doing it


def run(request: Request) -> dict[str, Any]:
    """Check all trials, run those that are not finished, and tell how each ended; exit code 6 if one failed.

    Raises:
        UsageError: the flags contradict each other, a device is not there, or Optuna or Ray is missing.
        UserRepError: a trial cannot work, named before the first begins.
    """
    asked = Asked(**request.extra)
    _check(asked)
    folder = request.run or request.runs_dir / FOLDER
    if asked.search is not None:
        return _search(asked, folder, request)
    listed = placed(product_of(asked.words), request.run) if asked.file is None else read_list(asked.file)
    with _launcher(asked, len(listed), request.dry_run) as launcher:
        trials = rehearsed(listed, asked.rehearse)
        if launcher is None:
            return planned(folder, trials)
        ledger = Ledger(folder, trials, fresh="--fresh" in asked.words)
        queue = _worked(Listed(trials), ledger, launcher, len(trials))
    return report(folder, trials, queue, ledger)


def _check(asked: Asked) -> None:
    """Raise UsageError for flags that do not go together."""
    contradictions = (
        (
            bool(asked.words) == (asked.file is not None),
            "a sweep is over one command, or over a list of commands",
            "type userrep sweep VERB ..., or userrep sweep --file list.txt",
        ),
        (asked.words[:1] == (VERB,), "this is a sweep over a sweep", "name the verb of the trials"),
        (
            "--resume" in asked.words,
            "--resume means one run, and this is a sweep",
            "leave it out: a sweep goes on anyway",
        ),
        (
            asked.search is None and (asked.trials is not None or asked.by is not None),
            "--trials and --by are for a search",
            "add --search optuna",
        ),
        (
            asked.search is not None and asked.file is not None,
            "--search draws the values of one command, and --file lists commands",
            "give one of the two",
        ),
        (
            asked.gpus is not None and asked.jobs is not None,
            "both --gpus and --jobs",
            "give --jobs-per-gpu beside --gpus",
        ),
        (
            asked.on is not None and asked.gpus is not None,
            "--gpus is of this machine, and --on of others",
            "leave one out",
        ),
        (
            asked.on is None and asked.cpus_per_trial is not None,
            "--cpus-per-trial is for a cluster",
            "leave it out: the cores are shared out among --jobs",
        ),
        (
            asked.on is None and asked.jobs_per_gpu is not None and asked.gpus is None,
            "--jobs-per-gpu without --gpus",
            "name the GPUs: --gpus 0,1 or --gpus all",
        ),
    )
    for wrong, cause, remedy in contradictions:
        if wrong:
            raise UsageError(cause, remedy)


def _search(asked: Asked, folder: Path, request: Request) -> dict[str, Any]:
    """Check the corners of the space, then let Optuna propose trials until as many as asked for have ended."""
    space = space_of(asked.words)
    corners = rehearsed(_corners(space), asked.rehearse)
    pinned = corners[0].words[len(space.words({})) :]  # the base, where none was named: one for all that is proposed
    space = replace(space, template=(*space.template, *pinned))
    aim = aim_of(asked.rehearse(corners[0].words), asked.by, asked.trials, asked.search_seed, asked.pruner)
    study = folder if request.run else folder / f"search-{digest([*space.words({}), aim.metric])[:8]}"
    if request.dry_run:
        return planned(study, corners)
    ledger = Ledger(study)
    with _launcher(asked, aim.trials) as launcher:
        assert launcher is not None
        search = Search(space, aim, study, partial(_proposed, asked=asked, folder=request.run, ledger=ledger))
        queue = _worked(search, ledger, launcher, aim.trials)
    return report(study, [trial for trial, _ in queue.outcomes.values()], queue, ledger, search)


def _corners(space: Space) -> Sequence[Trial]:
    return [
        Trial(space.words(values), f"corner {number}", {key: str(value) for key, value in values.items()})
        for number, values in enumerate(space.corners(), start=1)
    ]


def _proposed(trial: Trial, asked: Asked, folder: Path | None, ledger: Ledger) -> Trial:
    """Return a trial that a search proposes, checked; with `--run` it goes to a folder named after its values."""
    checked = completed(trial, asked.rehearse)
    checked = sent(checked, folder / f"trial-{checked.key}") if folder else checked
    ledger.watch(checked)
    return checked


@contextmanager
def _launcher(asked: Asked, trials: int, dry_run: bool = False) -> Iterator[Launcher | None]:
    """Yield what starts children: on this machine, in as many slots as were asked for, or on a Ray cluster.

    None for a dry run, after devices were checked.
    """
    if asked.on is not None and not dry_run:
        with on_ray(asked.cpus_per_trial or 1, asked.jobs_per_gpu or 1, asked.jobs) as cluster:
            yield cluster
        return
    slots = processor_slots(asked.jobs or 1)
    if asked.gpus is not None:
        slots = gpu_slots(asked.gpus, asked.jobs_per_gpu or 1, visible_gpus())
    yield None if dry_run else Local(with_threads(slots[:trials], processor_cores(), os.environ))


def _worked(source: Source, ledger: Ledger, launcher: Launcher, total: int) -> Queue:
    with graceful() as stop, board() as shown:
        queue = Queue(source, ledger, launcher, Teller(total, shown).tell)
        queue.run(stop)
    return queue

"""Plan: what a command will need in memory and time, before it is run."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from userrep import console
from userrep.errors import UsageError, UserRepError, suggest
from userrep.models.packing import padded
from userrep.planning.advice import Suggestion, is_worth, to_fit, worth_trying
from userrep.planning.forecast import Forecast, Start, bare, forecast
from userrep.planning.gpus import Gpu, named
from userrep.planning.machine import memory_there, peak_on, resident
from userrep.planning.planned import Plan
from userrep.planning.rehearsal import make_ready
from userrep.planning.span import Span, certain
from userrep.sequences.store import open_prepared
from userrep.stages import pretrain, transfer
from userrep.stages.chaining import asked
from userrep.stages.plan_table import as_answer, show
from userrep.stages.request import Request
from userrep.stages.resolved import config_of
from userrep.stages.restore import check_data, check_trained
from userrep.stages.training import choose_device
from userrep.training.job import Job

NOWHERE = Path("nowhere")  # a job names the folder of its run; this one is never written
TRIED, TRY_SECONDS = 8, 15.0  # steps of each setting that is tried, and how long they may take
ENOUGH = 90.0  # seconds after which nothing more is tried


@dataclass(frozen=True)
class Command:
    """A command that can be planned: how its job is made, where its loss is set, whether its weights are of no run."""

    job: Callable[[Request], Job]
    section: str
    fresh: bool


def run(request: Request) -> dict[str, Any]:
    """Tell the memory and the time of a command, and what would change them; nothing is written."""
    verb = request.extra["plans"]
    if verb not in COMMANDS:
        raise UsageError(f"there is no plan of {verb!r}", suggest(verb, COMMANDS))
    gpu = named(request.extra["gpu"]) if request.extra["gpu"] else None
    with padded() if gpu else nullcontext():
        plan = _plan(verb, replace(request, device="cpu") if gpu else request, gpu)
    show(plan)
    return as_answer(plan)


def _plan(verb: str, request: Request, gpu: Gpu | None) -> Plan:
    command, began = COMMANDS[verb], time.monotonic()
    device = choose_device(request.device)
    held = resident(), peak_on(device)
    if command.fresh:
        with torch.device("meta"), console.hushed():
            empty = command.job(request)
        if plan := _too_large(Start(empty, *held, gpu), verb):
            return plan
    job = command.job(request)
    start, making = Start(job, *held, gpu), time.monotonic() - began
    if not command.fresh and (plan := _too_large(start, verb)):
        return plan
    found = tuple(forecast(start, make_ready(job, phase)) for phase in job.phases)
    fullest = max((one.memory for one in found), key=lambda memory: memory.total)
    total = _sum([one.total for one in found], certain(0.0 if gpu else making).wider(0.3, 0.5))
    if fullest.fits is False:
        told = tuple(to_fit(next(one for one in found if one.memory is fullest), command.section))
    else:
        told = tuple(_tried(command, request, start, found, began))
    return Plan(verb, job.data.name, found, fullest, total, told, gpu)


def _too_large(start: Start, verb: str) -> Plan | None:
    """Return the plan of a job whose weights, gradients and optimiser state are more than this machine has."""
    ready = make_ready(start.job, start.job.phases[0])
    memory, there = bare(start, ready), memory_there(start.job.device)
    if there is None or memory.total <= there:
        return None
    narrower = Suggestion("model.width=...", "a narrower model: shapes alone are too much for this machine to try it")
    return Plan(verb, start.job.data.name, (), memory, None, (narrower,), start.gpu)


def _tried(
    command: Command, request: Request, start: Start, found: Sequence[Forecast], began: float
) -> list[Suggestion]:
    """Try settings on the phase that takes longest, and keep those that pay."""
    longest = max(found, key=lambda one: one.total.likely if one.total else 0.0)
    place, kept = found.index(longest), []
    for suggestion in worth_trying(longest, command.section):
        if time.monotonic() - began > ENOUGH:
            break
        tried = _try(command, request, start, place, longest, suggestion)
        if tried is not None and is_worth(tried, longest):
            kept.append(tried)
    return kept


def _try(
    command: Command, request: Request, start: Start, place: int, before: Forecast, suggestion: Suggestion
) -> Suggestion | None:
    """Return a suggestion with what was found of it; None where it cannot be combined with the rest."""
    key = suggestion.override.partition("=")[0]
    others = tuple(text for text in request.overrides if text.partition("=")[0].lstrip("+") != key)
    with console.hushed():
        try:
            job = command.job(replace(request, overrides=(*others, suggestion.override)))
            own = replace(start, job=job, peak=peak_on(job.device))  # what came before has raised the peak
            ready = [make_ready(job, phase) for phase in job.phases[: place + 1]][-1]
            found = forecast(own, ready, TRIED, TRY_SECONDS, judge=False)
        except (UserRepError, RuntimeError):
            return None
    if found.times is None:
        return None
    speed = found.examples_a_second / before.examples_a_second
    memory = before.memory.total + found.memory.of_training - before.memory.of_training
    return replace(suggestion, speed=speed, memory=memory)


def _sum(spans: Sequence[Span | None], begin: Span) -> Span | None:
    known = [one for one in spans if one is not None]
    return sum(known, begin) if len(known) == len(spans) else None


def _pretrain(request: Request) -> Job:
    config = config_of("pretrain", request)
    return pretrain.job_of(request, config, open_prepared(request.data_dir, config["dataset"]), NOWHERE)


def _transfer(request: Request) -> Job:
    if asked(request) is not None:
        raise UsageError("a plan is of one task, and tasks=[...] names several", "plan each of them, with task=NAME")
    base = transfer.base_of(request, None)
    check_trained(base)
    config = transfer.compose_from(base, request)
    data = open_prepared(request.data_dir, config["dataset"])
    check_data(base, data)
    return transfer.job_of(request, config, base, data, NOWHERE)[0]


COMMANDS = {
    "pretrain": Command(_pretrain, "objective", fresh=True),
    "transfer": Command(_transfer, "task", fresh=False),
}

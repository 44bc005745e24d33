"""What a plan says: one table, a few lines below it, and the same for programs."""

from collections.abc import Iterator
from typing import Any

from userrep import console
from userrep.console import Figure
from userrep.planning.advice import Suggestion
from userrep.planning.forecast import Forecast
from userrep.planning.planned import Plan
from userrep.planning.roofline import ASSUMED
from userrep.planning.span import Span, duration, volume

LEAST = 1024  # bytes from which a part has a line


def show(plan: Plan) -> None:
    """Print the table of memory, and below it time, what was done to know it, and what would change it."""
    memory = plan.memory
    rows = [(row.what, Figure(volume(row.size)), _share(memory.share(row))) for row in memory.rows if row.size >= LEAST]
    rows.append(("in all, when it is fullest", Figure(volume(memory.total), bold=True), Figure("100 %")))
    console.table(f"{plan.verb} on {plan.dataset}: memory on {_device(plan)}", ("what", "bytes", "share"), rows)
    for line in _lines(plan):
        console.note(line)


def _share(share: float | None) -> Figure:
    return Figure("another time" if share is None else f"{share:.1%}".replace("%", " %"))


def _device(plan: Plan) -> str:
    if plan.gpu is None:
        return "this machine" if plan.device == "cpu" else plan.device
    return f"one {plan.gpu.name}, which is not here"


def _lines(plan: Plan) -> Iterator[str]:
    memory = plan.memory
    if memory.there is not None:
        verdict = "it fits" if memory.fits else "it does not fit"
        yield f"memory: {volume(memory.total)} of {volume(memory.there)} that are there: {verdict}"
    if not plan.found:
        yield "counted from shapes alone: this machine cannot hold what training keeps, so no step of it was tried"
    for one in plan.found:
        yield from _of_phase(one)
    if plan.total is not None:
        patience = any(one.ready.job.trainer.patience for one in plan.found)
        yield f"in all: {_span(plan.total)}" + (", sooner where trainer.patience ends it" if patience else "")
    if plan.gpu is not None:
        yield f"an estimate by peaks from the {plan.gpu.source}:"
        yield from (f"  {line}" for line in ASSUMED)
    for suggestion in plan.suggestions:
        yield f"try {_written(suggestion)}"


def _of_phase(one: Forecast) -> Iterator[str]:
    name, epoch = one.ready.phase.name, one.epoch
    largest = one.counted.full
    how = "counted whole" if one.counted.whole else "counted by parts of it and drawn on"
    if one.times is None or epoch is None:
        yield f"phase {name}: not timed; its largest batch of {largest.users} examples was {how}"
        return
    parts = f"{one.look.steps:,} steps of {duration(one.times.step.likely)}"
    validation = f"validation {duration(one.times.validation.likely)}"
    yield f"phase {name}: at most {one.epochs} epochs of {_span(epoch)}: {parts}, {validation}"
    timed = f"{one.times.probed} steps timed; " if one.times.probed else ""
    yield f"  {timed}the largest batch, {largest.users} examples, {largest.cells:,} positions, {how}"


def _span(span: Span) -> str:
    return f"{duration(span.likely)} ({duration(span.low)} to {duration(span.high)})"


def _written(suggestion: Suggestion) -> str:
    found = [] if suggestion.speed is None else [f"{suggestion.speed:.1f}x the examples a second"]
    found += [] if suggestion.memory is None else [f"{volume(suggestion.memory)} in all"]
    return f"{suggestion.override}: {', '.join([*found, suggestion.why])}"


def as_answer(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain values: bytes and seconds."""
    memory = plan.memory
    parts = [
        {"what": row.what, "bytes": row.size, "share": memory.share(row), "together": row.together}
        for row in memory.rows
    ]  # fmt: skip
    return {
        "plans": plan.verb, "dataset": plan.dataset, "device": plan.device,
        "memory": {"parts": parts, "bytes": memory.total, "there": memory.there, "fits": memory.fits},
        "phases": [_phase(one) for one in plan.found],
        "time": None if plan.total is None else plan.total.told,
        "estimate": plan.gpu is not None, "source": plan.gpu.source if plan.gpu else None,
        "assumptions": list(ASSUMED) if plan.gpu else [],
        "suggestions": [vars(one) for one in plan.suggestions],
    }  # fmt: skip


def _phase(one: Forecast) -> dict[str, Any]:
    times, stages = one.times, one.counted.full.stages.values()
    return {
        "phase": one.ready.phase.name, "epochs": one.epochs, "steps": one.look.steps,
        "tables": one.ready.rows.kind, "bytes": one.memory.total,
        "step": None if times is None else times.step.told,
        "validation": None if times is None else times.validation.told,
        "epoch": None if one.epoch is None else one.epoch.told,
        "time": None if one.total is None else one.total.told,
        "probed": 0 if times is None else times.probed, "whole": one.counted.whole,
        "flops": sum(operation.flops for stage in stages for operation in stage.operations),
        "traffic": sum(operation.traffic for stage in stages for operation in stage.operations),
    }  # fmt: skip

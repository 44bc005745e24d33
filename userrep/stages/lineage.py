"""Lineage: the tasks that one encoder has learned, run after run, and how the newest run answers for each."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch

from userrep.build import build
from userrep.errors import UsageError
from userrep.methods.method import Method
from userrep.models.encoder import Encoder
from userrep.objectives.objective import Objective
from userrep.run import Run
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared
from userrep.stages.restore import restore


@dataclass(frozen=True)
class Served:
    """A task of a chain as the newest run answers for it: its number from 1, the run that learned it, its parts."""

    task: int
    run: Run
    encoder: Encoder
    objective: Objective
    protocol: Protocol


def lineage(run: Run | None) -> Iterator[Run]:
    """Yield a run and its ancestors, newest first."""
    while run is not None:
        yield run
        run = run.parent()


def chain_of(run: Run) -> list[Run]:
    """Return the runs of a chain, task 1 first: those that adapted one encoder, one after another.

    A method that starts each task from a run of its own makes chains of one task after the base's: task 1 is then the
    pre-training itself. Raises UsageError for a run without an ancestor.
    """
    runs = list(reversed(list(lineage(run))))
    if len(runs) < 2:
        raise UsageError(f"{run.path} is no chain of tasks: it has no base", "name the newest run of a chain")
    pruned = [place for place, found in enumerate(runs) if found.verb == "prune"]
    return runs[pruned[-1] :] if pruned else runs  # task 1 of a pruned chain is its pre-training, pruned


def served(newest: Run, data: Prepared, device: torch.device | None = None) -> Iterator[Served]:
    """Yield each task of a chain, answered by the newest run's weights with the task's own head and tensors.

    Raises UsageError where the newest encoder has other tensors than an earlier one, as after two methods that insert.
    """
    latest, _ = restore(newest, data, device)
    state = latest.state_dict()
    method: Method = build(newest.config["method"], at="method")
    for task, run in enumerate(chain_of(newest), start=1):
        encoder, objective = restore(run, data, device)
        own = method.belongs(encoder)
        shared = {name: tensor for name, tensor in state.items() if not any(fnmatchcase(name, glob) for glob in own)}
        foreign = sorted(shared.keys() - encoder.state_dict().keys())
        if foreign:
            raise UsageError(
                f"{newest.path} cannot answer for {run.path}: it added {foreign[0]} later",
                "name runs whose method keeps the encoder's shape, such as conure or full",
            )
        encoder.load_state_dict(shared, strict=False)
        method.serve(encoder, task)
        yield Served(task, run, encoder, objective, build(run.config["protocol"], at="protocol"))

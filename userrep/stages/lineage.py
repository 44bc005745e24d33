"""Lineage: the tasks that one encoder has learned, run after run, and how the newest run answers for each."""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from userrep.build import build
from userrep.errors import DataError, UsageError
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

    @property
    def name(self) -> str:
        """The task as it was chosen, or where there was no choice, as its objective calls it."""
        return self.run.choices.get("task") or self.objective.task_name


def lineage(run: Run | None) -> Iterator[Run]:
    """Yield a run and its ancestors, newest first; DataError for one that is made to be its own ancestor."""
    met = set()
    while run is not None:
        place = run.path.resolve()
        if place in met:
            raise DataError(f"{run.path} is its own base", "its record is damaged: make the run again with --fresh")
        met.add(place)
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


def served(
    newest: Run, data: Prepared, device: torch.device | None = None, tasks: Container[int] | None = None
) -> Iterator[Served]:
    """Yield each task of a chain, or those numbered, answered by the newest run's weights with the task's own tensors.

    Raises UsageError where the newest encoder has other tensors than an earlier one, as after two methods that insert.
    """
    runs = chain_of(newest)
    latest, _ = restore(newest, data, device)
    method: Method = build(newest.config["method"], at="method")
    for task, run in enumerate(runs, start=1):
        if tasks is None or task in tasks:
            yield graft(latest.state_dict(), method, task, run, data, device)


def graft(
    state: dict[str, Tensor], method: Method, task: int, run: Run, data: Prepared, device: torch.device | None = None
) -> Served:
    """Let the tensors of a later encoder answer for `task`, which `run` learned, with that run's head and own tensors.

    Raises UsageError where they do not fit the encoder that the run had.
    """
    encoder, objective = restore(run, data, device)
    own, shapes = method.belongs(encoder), {name: tensor.shape for name, tensor in encoder.state_dict().items()}
    shared = {name: tensor for name, tensor in state.items() if not any(fnmatchcase(name, glob) for glob in own)}
    foreign = sorted(name for name, tensor in shared.items() if shapes.get(name) != tensor.shape)
    if foreign:
        raise UsageError(
            f"a later run cannot answer for {run.path}: it added or reshaped {foreign[0]}",
            "name runs whose method keeps the encoder's shape, such as conure or full",
        )
    encoder.load_state_dict(shared, strict=False)
    method.serve(encoder, task)
    return Served(task, run, encoder, objective, build(run.config["protocol"], at="protocol"))

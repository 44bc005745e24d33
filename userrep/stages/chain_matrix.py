"""The matrix of a chain: each task, measured by every encoder from the one that learned it to the newest."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from userrep import console
from userrep.build import build
from userrep.errors import UsageError, VerificationError, suggest
from userrep.evaluation.metrics import lower_is_better
from userrep.evaluation.results import Metrics, Result
from userrep.run import Run
from userrep.sequences.store import Prepared
from userrep.stages.headline import HEADLINES
from userrep.stages.lineage import Served, served
from userrep.stages.restore import certified, restore


@dataclass(frozen=True)
class Matrix:
    """What was measured: `measured[i][j]` of task j by the encoder after task i, for j up to i, and on whom.

    `same[i][j]` says whether no case of task j came out otherwise than by the encoder that learned it, bit for bit.
    `names` are the metrics by which the tasks are told.
    """

    names: tuple[str, ...]
    measured: list[list[Metrics]]
    same: list[list[bool]]

    @cached_property
    def values(self) -> np.ndarray:
        """The told metric of each task: `(n, n)` fp64, NaN above the diagonal."""
        found = np.full((len(self.measured), len(self.measured)), np.nan)
        for i, row in enumerate(self.measured):
            for j, metrics in enumerate(row):
                found[i, j] = metrics[self.names[j]]
        return found

    @property
    def signs(self) -> np.ndarray:
        """1 where more of the told metric is better, -1 where less is: `(n,)`."""
        return np.array([-1 if lower_is_better(name) else 1 for name in self.names])

    @property
    def exact(self) -> bool:
        """Whether every encoder answers every case of earlier tasks as the one that learned them, bit for bit."""
        return all(all(row) for row in self.same)


def measure_chain(
    runs: Sequence[Run], names: Sequence[str], metrics: Sequence[str], data: Prepared, split: str, device: torch.device
) -> Matrix:
    """Evaluate all tasks of a chain by each of its encoders; `names` and `metrics` tell of each run's task.

    Raises VerificationError where a method that certifies its chain has let an earlier task answer otherwise.
    """
    learned: list[bytes] = []
    measured: list[list[Metrics]] = []
    same: list[list[bool]] = []
    for number, run in enumerate(runs, start=1):
        console.note(f"after task {number} of {len(runs)}, {names[number - 1]}: {run.path}")
        row, alike = [], []
        for answering in _answering(run, number, data, device):
            result = answering.objective.evaluate(answering.encoder, data, answering.protocol, split)
            if answering.task == number:
                learned.append(_bits(result))
            row.append(result.metrics())
            alike.append(_bits(result) == learned[answering.task - 1])
            if not alike[-1] and certified(run.config):
                _refuse(run, answering)
        if split == "test":
            tasks = [f"{task} {name}" for task, name in enumerate(names[:number], start=1)]
            run.add_reading(split=split, weights_hash=run.weights_hash, chain=dict(zip(tasks, row, strict=True)))
        measured.append(row)
        same.append(alike)
    return Matrix(tuple(metrics), measured, same)


def _answering(run: Run, number: int, data: Prepared, device: torch.device) -> Iterator[Served]:
    """Yield the tasks that a run of a chain answers for; the first of an unpruned one is a run without a base."""
    if number > 1 or run.record.get("parent"):
        yield from served(run, data, device)
        return
    encoder, objective = restore(run, data, device)
    yield Served(1, run, encoder, objective, build(run.config["protocol"], at="protocol"))


def _refuse(run: Run, answering: Served) -> None:
    raise VerificationError(
        f"{run.path} answers for task {answering.task} ({answering.name}) otherwise than {answering.run.path}, "
        "and its method promises that it cannot",
        f"userrep verify {run.path}",
    )


def _bits(result: Result) -> bytes:
    """Return all that was found of every case, as bytes."""
    columns = {"users": result.users, **result.table()}
    return b"".join(name.encode() + np.ascontiguousarray(column).tobytes() for name, column in columns.items())


def told_by(runs: Sequence[Run], asked: Sequence[str]) -> list[str]:
    """Return the metric that each run's task is told by: the first of `asked` that it has, or else its headline.

    Raises UsageError for a metric that no task has.
    """
    measured = [run.record.get("metrics") or {} for run in runs]
    known = {name for metrics in measured for name in metrics}
    for name in asked:
        if name not in known:
            raise UsageError(f"no task of the chain has metric {name!r}", suggest(name, known))
    return [next(name for name in (*asked, *HEADLINES) if name in metrics) for metrics in measured]

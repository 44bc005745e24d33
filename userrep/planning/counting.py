"""Counting: how much of a batch and of a validation is rehearsed, and what follows from it for all of it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from userrep import console
from userrep.objectives.softmax import CHUNK
from userrep.planning.ledger import Stage
from userrep.planning.machine import resident
from userrep.planning.memory import extended
from userrep.planning.probe import Epoch, cases_of_judges
from userrep.planning.rehearsal import Counted, Ready, count_evaluation, count_step, last_of
from userrep.planning.span import Span
from userrep.training.job import Job
from userrep.training.trainer import Trainer

PART = 16  # such a part of a batch is counted first
LEAST = 2 * CHUNK  # positions of it: fewer do not fill the workspace of a softmax, and no line can be drawn on
PATIENCE = 12.0  # seconds of a core that counting a whole batch may take; else parts of it are counted
JUDGED = (256, 512)  # users whose validation is counted: whole tiles


@dataclass(frozen=True)
class StepCount:
    """Two counted steps: one of a part of the largest batch, one of all; `whole` says whether that was really run."""

    small: Counted
    full: Counted
    whole: bool

    def of(self, users: int) -> Counted:
        """Return what a batch of so many users would be, by the line through both."""
        return extended(self.small, self.full, users)


def count(ready: Ready, look: Epoch, there: int | None) -> StepCount:
    """Count the step of the largest batch of an epoch, and of a smaller part of it.

    Where a whole one would take too long, or more memory than there is, two parts of it are counted, and the line
    through them drawn on.
    """
    users = -(-len(look.largest.rows) // pieces(ready.job.trainer))
    steps = max(1, look.largest.items.numel() // len(look.largest.rows))
    part = min(users, max(2, users // PART, -(-LEAST // steps)))
    piece = last_of(look.largest, users)
    first = count_step(ready, piece, part)
    if part == users:
        return StepCount(first, first, True)
    began = time.process_time()
    second = count_step(ready, piece, min(users, 2 * part))
    taken = time.process_time() - began  # of the second: the first also loads what is used first
    long = taken * users / second.users > PATIENCE
    guess = extended(first, second, users)
    if long or (there is not None and guess.peak > there - resident()):
        return StepCount(second, guess, False)
    half = count_step(ready, piece, max(part, users // 2))
    return StepCount(half, count_step(ready, piece, users), True)


def pieces(trainer: Trainer) -> int:
    """Return of how many pieces a batch is made that are never in one memory at once: parts, on several devices."""
    return min(trainer.batch_size, trainer.accumulate * trainer.devices)


@dataclass(frozen=True)
class Validation:
    """Counted validations of `users` each, and the number of users that a validation is of."""

    users: tuple[int, ...]
    stages: tuple[Stage, ...]
    judges: int

    @property
    def peak(self) -> int:
        """The most bytes that a whole validation has live at once."""
        return round(self.extended([float(stage.peak) for stage in self.stages]))

    def extended(self, values: Sequence[float]) -> float:
        """Draw the line through a value of each counted validation on to the whole one; it does not fall."""
        if not values:
            return 0.0
        first, last = values[0], values[-1]
        span = self.users[-1] - self.users[0]
        return last + (max(0.0, last - first) / span * (self.judges - self.users[-1]) if span else 0.0)

    def spans(self, measure: Callable[[Stage], Span]) -> Span:
        """Draw the lines through the ends and the middle of a measured span."""
        found = [measure(stage) for stage in self.stages]
        return Span(*(self.extended([getattr(one, end) for one in found]) for end in ("low", "likely", "high")))


def count_validation(job: Job) -> Validation:
    """Count the validations of some users."""
    rows = cases_of_judges(job)
    sizes = sorted({min(size, len(rows)) for size in JUDGED if len(rows)})
    with console.hushed():
        stages = tuple(count_evaluation(job, np.isin(np.arange(len(job.users)), rows[:size])) for size in sizes)
    return Validation(tuple(sizes), stages, len(rows))

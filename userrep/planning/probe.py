"""The probe: some real steps and a small real validation, timed; their weights and files are thrown away."""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from safetensors.torch import save_file

from userrep import console
from userrep.planning.rehearsal import Ready, judging
from userrep.sequences.batches import Batch, Feed, Order
from userrep.signals import Stop
from userrep.training.fit import fit
from userrep.training.job import Job
from userrep.training.seed import stream

STEPS, SECONDS = 20, 60.0  # steps that are timed, and how long they may take
SAMPLE = 100  # batches of an epoch whose shapes are looked at
JUDGED = (256, 1024)  # users of the two validations that are timed
SUBSET = 40  # batches of users that are read for a head on a frozen encoder
WRITTEN = 32 * 2**20  # bytes written to learn how fast files are


@dataclass(frozen=True)
class Epoch:
    """An epoch as its feed has it.

    Of the users of a mask there are the batches of `order`, of all users `steps` of them. `cells (S,)` are the
    positions of a sample of batches, `largest` is the largest of it. Drawing an order takes `drawing` seconds, reading
    what a frozen encoder makes of all users `caching`, once, in `cached_bytes`.
    """

    feed: Feed
    order: Order
    users: np.ndarray
    steps: int
    cells: np.ndarray
    largest: Batch
    drawing: float
    caching: float = 0.0
    cached_bytes: int = 0  # of all users
    held: int = 0  # of those of the mask


def look_at_epoch(ready: Ready) -> Epoch:
    """Draw the first epoch of a phase; of a head on a frozen encoder, with the vectors of some users alone."""
    job, users = ready.job, ready.job.users
    job.objective.forget()
    feed, order, drawing = _drawn(job, users)
    steps, caching, held, share = len(order), 0.0, 0, 1.0
    if ready.frozen and ready.phase.loss is None:
        users, share = some_users(job, steps)
        feed, order, _ = _drawn(job, users)
        began = time.monotonic()
        with judging(job):
            feed = job.objective.cached(feed, job.encoder, job.data, job.protocol)
        caching = (time.monotonic() - began) / share
        vectors = getattr(feed, "users", None)
        held = vectors.nbytes if isinstance(vectors, torch.Tensor) else 0
    sample = np.random.default_rng(0).permutation(len(order))[:SAMPLE]
    batches = [feed.batch(order[index]) for index in sample]
    cells = np.array([batch.items.numel() for batch in batches])
    largest = batches[int(cells.argmax())]
    return Epoch(feed, order, users, steps, cells, largest, drawing, caching, round(held / share), held)


def _drawn(job: Job, users: np.ndarray) -> tuple[Feed, Order, float]:
    with console.hushed():
        feed = job.objective.feed(job.data, job.protocol, users, job.length, job.trainer.batch_size)
    began = time.monotonic()
    order = feed.order(stream(job.seed, "order", 0, 0))
    return feed, order, time.monotonic() - began


def some_users(job: Job, steps: int) -> tuple[np.ndarray, float]:
    """Return a mask without most training users, so that about SUBSET batches are left, and which share is left."""
    share = min(1.0, SUBSET / steps)
    rows = np.unique(job.objective.cases(job.data, job.protocol, "train").rows)
    rows = rows[job.users[rows]]
    kept = job.users.copy()
    left_out = np.random.default_rng(0).permutation(rows)[round(share * len(rows)) :]
    kept[left_out] = False
    return kept, 1 - len(left_out) / max(1, len(rows))


@dataclass(frozen=True)
class Steps:
    """Timed steps: `seconds (n,)` of each, its `cells (n,)` where they are known."""

    seconds: np.ndarray
    cells: np.ndarray | None

    def mean(self, cells: np.ndarray) -> tuple[float, float]:
        """Return the mean seconds of steps of such sizes, and the standard error of it.

        A step takes a constant and a share of its positions; both are read from the steps by least squares, and
        neither is below zero.
        """
        mean = float(self.seconds.mean())
        error = float(self.seconds.std(ddof=1)) / len(self.seconds) ** 0.5 if len(self.seconds) > 1 else mean
        if self.cells is None or len(self.seconds) < 8 or self.cells.std() < 0.05 * self.cells.mean():
            return mean, error
        centred = self.cells - self.cells.mean()
        slope = float((centred * (self.seconds - mean)).sum() / (centred**2).sum())
        slope = min(max(slope, 0.0), mean / float(self.cells.mean()))
        rest = self.seconds - mean - slope * centred
        return mean + slope * float(cells.mean() - self.cells.mean()), float(rest.std(ddof=2)) / len(rest) ** 0.5


def time_steps(ready: Ready, epoch: Epoch, steps: int = STEPS, seconds: float = SECONDS) -> Steps:
    """Train for some steps through the loop itself, in a folder that is removed, and leave the first out as warm-up."""
    job, taken = ready.job, []
    with TemporaryDirectory(prefix="userrep-plan-") as folder, console.hushed():
        parts = min(job.trainer.batch_size, job.trainer.accumulate * job.trainer.devices)
        trainer = replace(job.trainer, accumulate=parts,
                          validate_users=min(64, job.trainer.validate_users or 64), patience=0,
                          epochs=max(job.trainer.epochs, steps), checkpoint_seconds=float("inf"))  # fmt: skip
        short = replace(
            job, phases=[replace(ready.phase, epochs=trainer.epochs)], trainer=trainer, users=epoch.users,
            folder=Path(folder), validate_first=False,
        )  # fmt: skip
        began = last = time.monotonic()
        for told in fit(short, Stop()):
            now = time.monotonic()
            if told.record is None:
                taken.append(now - last)
            if len(taken) > steps or (now - began > seconds and len(taken) > 2):
                break
            last = time.monotonic()
    job.objective.forget()
    return Steps(np.array(taken[1:] or taken), _cells(epoch, len(taken)))


def _cells(epoch: Epoch, steps: int) -> np.ndarray | None:
    """Return the positions of the steps after the first, if they are of one epoch, whose order is known."""
    if not 1 < steps <= len(epoch.order):
        return None
    return np.array([epoch.feed.batch(index).items.numel() for index in epoch.order[1:steps]])


@dataclass(frozen=True)
class Judged:
    """Timed validations: of the first of a phase, and of each after it, which may read what the first has kept."""

    first: float
    later: float


def cases_of_judges(job: Job) -> np.ndarray:
    """Return the rows of the users that a validation reads, in an order of chance."""
    rows = np.flatnonzero(job.judges)
    asked = np.unique(job.objective.cases(job.data, job.protocol, "valid").rows)
    return np.random.default_rng(0).permutation(rows[np.isin(rows, asked)])


def time_validation(job: Job) -> Judged:
    """Time the validation of some users, twice, and tell what that of all judges takes."""
    rows = cases_of_judges(job)
    if not len(rows):
        return Judged(0.0, 0.0)
    sizes = [min(size, len(rows)) for size in JUDGED]
    taken = {size: _validate(job, rows[:size]) for size in dict.fromkeys(sizes)}
    return Judged(*(_extended([taken[size][turn] for size in sizes], sizes, len(rows)) for turn in (0, 1)))


def _validate(job: Job, rows: np.ndarray) -> tuple[float, float]:
    mask, taken = np.isin(np.arange(len(job.users)), rows), []
    for _ in range(2):
        began = time.monotonic()
        with judging(job), console.hushed():
            job.objective.validate(job.encoder, job.data, job.protocol, mask)
        taken.append(time.monotonic() - began)
    return taken[0], taken[1]


def _extended(taken: list[float], sizes: list[int], wanted: int) -> float:
    """Draw the line through two points on to `wanted`."""
    if sizes[0] == sizes[1]:
        return taken[1]
    slope = max(0.0, (taken[1] - taken[0]) / (sizes[1] - sizes[0]))
    return taken[1] + slope * (wanted - sizes[1])


def bytes_written_a_second() -> float:
    """Return how fast weights are written, to a file that is removed."""
    with TemporaryDirectory(prefix="userrep-plan-") as folder:
        path = Path(folder) / "weights.safetensors"
        began = time.monotonic()
        save_file({"weights": torch.zeros(WRITTEN // 4)}, path)
        with path.open("rb+") as stream:
            os.fsync(stream.fileno())
        return WRITTEN / max(1e-6, time.monotonic() - began)

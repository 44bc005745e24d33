"""The rehearsal: one step and one evaluation done in the ledger, so that their bytes and operations are known."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from userrep.methods.method import Phase
from userrep.methods.surgery import train_only
from userrep.objectives.softmax import release_workspaces
from userrep.planning.ledger import Ledger, Operation, Stage
from userrep.planning.shapes import optimizer_bytes
from userrep.sequences.batches import Batch
from userrep.training.job import Job
from userrep.training.optim import clip_gradients, make_optimizer
from userrep.training.precision import Precision
from userrep.training.seed import generator
from userrep.training.tables import Rows, choose_rows, marked

ACTIVATIONS, LOSS, BACKWARD, UPDATE = "activations", "loss", "backward", "update"
STAGES = ("forward", "backward", "update")


@dataclass(frozen=True)
class Ready:
    """A phase that is ready to train: what of its encoder and heads trains, and which tables by row."""

    job: Job
    phase: Phase
    rows: Rows
    trainable: tuple[nn.Parameter, ...]
    frozen: bool  # nothing of the encoder trains
    by_row: tuple[nn.Parameter, ...] = ()  # tables that could be updated by row
    precision: Precision = nullcontext  # what forward passes run in

    @property
    def optimizer_bytes(self) -> int:
        """The bytes that the optimiser will keep, with whichever process."""
        return optimizer_bytes(self.trainable, self.rows)

    @property
    def elsewhere(self) -> float:
        """The share of the tables by row, and of their optimiser state, that lies with other processes."""
        return 1 - 1 / self.job.trainer.devices if self.job.trainer.shard_tables else 0.0

    @property
    def gradient_bytes(self) -> int:
        """The bytes of the dense gradients; those of tables by row hold a batch's rows alone."""
        by_row = {id(table) for table in self.rows.tables}
        return sum(one.numel() * one.element_size() for one in self.trainable if id(one) not in by_row)


def make_ready(job: Job, phase: Phase) -> Ready:
    """Begin a phase as the loop does; what is returned holds the phase without its beginning, which is done."""
    if phase.begin is not None:
        phase.begin(job.encoder)
    names = train_only(job.encoder, phase.trainable)
    job.objective.requires_grad_(True)
    known = job.objective.read_by_row(job.encoder) if phase.loss is None else []
    rows = choose_rows(job.trainer.tables, known, job.device.type, job.trainer.shard_tables)
    marked((job.encoder, job.objective), rows.tables)
    both = (*job.encoder.parameters(), *job.objective.parameters())
    trainable = {id(one): one for one in both if one.requires_grad}
    could = tuple(table for table in known if table.requires_grad)
    return Ready(job, replace(phase, begin=None), rows, tuple(trainable.values()), frozen=not names, by_row=could)


@dataclass(frozen=True)
class Counted:
    """What a step of `users` examples, `cells` positions, makes live beside the weights, and does, stage by stage."""

    users: int
    cells: int
    stages: dict[str, Stage]

    @property
    def peak(self) -> int:
        """The most bytes that live at once, gradients and optimiser state among them, the weights not."""
        return max(stage.peak for stage in self.stages.values())

    @property
    def widest(self) -> Stage:
        """The stage that has most bytes at once."""
        return max(self.stages.values(), key=lambda stage: stage.peak)

    @property
    def operations(self) -> list[Operation]:
        """All operations of the step."""
        return [one for stage in self.stages.values() for one in stage.operations]


def count_step(ready: Ready, batch: Batch, users: int) -> Counted:
    """Do two steps on `users` examples of a batch and count the second, of an optimiser that is warm.

    Where batches are made of parts, a part is counted that follows another, whose gradient is there already.
    """
    job, own = ready.job, spread(batch, users).to(ready.job.device)
    optimizer = make_optimizer(
        job.encoder, job.objective, job.trainer, job.encoder.vocab_size, ready.phase.slower, ready.rows
    )
    if ready.phase.pace is not None:
        ready.phase.pace(job.encoder, 0.0)
    draws = generator(job.seed, "draws", 0)
    compute = ready.phase.loss
    release_workspaces()
    ledger = Ledger()
    parts = [job.encoder, *job.encoder.children(), *job.encoder.blocks]
    job.encoder.train()
    job.objective.train()
    with ledger, ledger.tagging(parts, ACTIVATIONS):
        for turn in ("first", "second"):
            if turn == "second":
                ledger.stages.clear()
            if not job.trainer.accumulate > 1:
                optimizer.zero_grad(set_to_none=True)
            with ledger.at("forward", LOSS), ready.precision():
                if compute is None:
                    loss = job.objective.loss(job.encoder, own, draws)
                else:
                    loss = compute(job.encoder, job.objective, own, draws)
            with ledger.at("backward", BACKWARD):
                loss.backward()
            with ledger.at("update", UPDATE):
                if job.trainer.clip:
                    clip_gradients(optimizer, job.trainer.clip)
                optimizer.step()
            loss = loss.detach()
    optimizer.zero_grad(set_to_none=True)
    release_workspaces()
    job.objective.told = {}
    return Counted(users, int(own.items.numel()), dict(ledger.stages))


def last_of(batch: Batch, users: int) -> Batch:
    """Return the last examples of a batch, as long as they are in it: the longest, where a feed sorts by length."""
    return _taken(batch, slice(len(batch.rows) - users, None))


def spread(batch: Batch, users: int) -> Batch:
    """Return examples from all over a batch, the last among them, so that a part is as long and short as the whole."""
    return _taken(batch, torch.linspace(len(batch.rows) - 1, 0, users).round().long().flip(0))


def _taken(batch: Batch, which: slice | Tensor) -> Batch:
    kept: dict[str, Any] = {name: one[which] for name, one in vars(batch).items() if isinstance(one, Tensor)}
    return replace(batch, **kept)


def count_evaluation(job: Job, users: np.ndarray) -> Stage:
    """Validate the users of a mask in the ledger."""
    ledger = Ledger()
    with judging(job), ledger, ledger.at("evaluation", "evaluation"):
        job.objective.validate(job.encoder, job.data, job.protocol, users)
    return ledger.stages["evaluation"]


@contextmanager
def judging(job: Job) -> Iterator[None]:
    """Set a job's modules to be evaluated inside the block, and to train after it."""
    modules = (job.encoder, job.objective)
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for module in modules:
            module.train()

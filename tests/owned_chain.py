"""Chains of tasks on one small encoder, learned by the real loop, and earlier tasks asked of the newest weights."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tiny
import torch
from torch import Tensor

from userrep.methods.conure import Conure, owned_weights
from userrep.methods.method import Method
from userrep.methods.owned import Owned
from userrep.methods.surgery import original_of
from userrep.models.encoder import Encoder
from userrep.objectives.classify import Classify
from userrep.objectives.objective import Objective
from userrep.sequences.protocol import Protocol
from userrep.signals import Stop
from userrep.training.fit import fit
from userrep.training.job import Job
from userrep.training.trainer import Trainer

LABELS = ("gender", "age")  # of the tasks after the first


@dataclass
class Learned:
    """A task as it was when it had been learned: copies of encoder and head, and the method that did it."""

    task: int
    method: Method
    encoder: Encoder
    objective: Objective


def learn(encoder: Encoder, method: Method, label: str | None, readout: str = "mean+token", **trainer: Any) -> Learned:
    """Let a method teach the encoder a task, in place, as the stages do; without a label, what task 1 learns."""
    protocol = Protocol(readout=readout, history=tiny.STEPS)
    method.adapt(encoder, readout)
    objective = tiny.objective("task", "gender", label=label) if label else first(encoder)
    objective.setup(encoder, tiny.data(), protocol)
    phases = method.phases(encoder)
    method.check(encoder, phases, objective)
    settings = {"epochs": 1, "batch_size": 16, "lr": 0.01, "weight_decay": 0.1} | trainer
    with TemporaryDirectory(dir=tiny.FOLDER.name) as folder:
        job = Job(
            encoder=encoder, objective=objective, phases=phases, data=tiny.data(), protocol=protocol,
            trainer=Trainer(length=tiny.STEPS, **settings), users=np.ones(tiny.data().num_users, dtype=bool),
            length=tiny.STEPS, seed=0, folder=Path(folder),
        )  # fmt: skip
        for _ in fit(job, Stop()):
            pass
    method.finish(encoder)
    task = method.task if isinstance(method, Conure) else 0
    return Learned(task, method, deepcopy(encoder).eval(), deepcopy(objective).eval())


def first(encoder: Encoder) -> Objective:
    """Return what an encoder of its kind is pre-trained with."""
    return tiny.objective("objective", "next_item" if encoder.causal else "cloze")


@cache
def chain(model: str, **options: Any) -> tuple[Learned, ...]:
    """Learn three tasks, one after another, on the small encoder of a yaml."""
    encoder = tiny.encoder(model)
    return tuple(learn(encoder, Conure(**options), label) for label in (None, *LABELS))


def asked(earlier: Learned, newest: Learned) -> Learned:
    """Return an earlier task as the newest weights answer for it, its own tensors and head beside them."""
    encoder = deepcopy(earlier.encoder)
    own = newest.method.belongs(encoder)
    state = newest.encoder.state_dict().items()
    encoder.load_state_dict({name: t for name, t in state if not any(fnmatchcase(name, p) for p in own)}, strict=False)
    newest.method.serve(encoder, earlier.task)
    return Learned(earlier.task, earlier.method, encoder.eval(), earlier.objective)


def answers(learned: Learned) -> tuple[Tensor, Tensor, Tensor]:
    """Return states, user vectors and logits of fixed histories, the shortest of one event."""
    items = tiny.histories(batch=8)
    states, users = tiny.states(learned.encoder, items), tiny.users(learned.encoder, items)
    with torch.no_grad():
        head = learned.objective
        logits = head.logits(users) if isinstance(head, Classify) else states @ learned.encoder.item_vectors().t()
    return states, users, logits


def same(left: tuple[Tensor, ...], right: tuple[Tensor, ...]) -> bool:
    """Say whether answers are equal bit for bit; NaN is equal to nothing."""
    return all(torch.equal(mine, theirs) for mine, theirs in zip(left, right, strict=True))


def weights(encoder: Encoder) -> Iterator[tuple[Owned, Tensor]]:
    """Yield the owners of each weight that has some, and the parameter behind it."""
    for name, owned in owned_weights(encoder):
        yield owned, original_of(encoder, name)[1].data

"""The method: how a pre-trained encoder is adapted to a task, in one phase or several."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from userrep.build import Component
from userrep.errors import ConfigError
from userrep.methods.patch import Patch, StemPatch
from userrep.methods.surgery import add_low_rank_table, set_readout
from userrep.models.encoder import Encoder
from userrep.objectives.objective import Objective
from userrep.sequences.batches import Batch
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared

Loss = Callable[[Encoder, Objective, Batch, torch.Generator], Tensor]
Watch = Callable[[Encoder, Objective, Prepared, Protocol, np.ndarray], dict[str, float]]


@dataclass(frozen=True)
class Phase:
    """One stretch of training with a fresh optimiser.

    trainable  glob patterns over the encoder's parameter names; none trains the objective's heads alone
    begin      changes the encoder before the first step, and again, before the checkpoint is read, on resume
    epochs     as the trainer says where None; 0 only changes and measures
    loss       the phase's own loss where None does not mean the objective's
    pace       is told before each step which share of the phase's updates is done, in [0, 1)
    slower     patterns of parameters that train at a share of `trainer.lr`, with the share; they are clipped apart
    watch      adds to what each validation logs, from the validation users of a mask
    """

    name: str
    trainable: tuple[str, ...]
    begin: Callable[[Encoder], None] | None = None
    epochs: int | None = None
    loss: Loss | None = None
    pace: Callable[[Encoder, float], None] | None = None
    slower: tuple[tuple[str, float], ...] = ()
    watch: Watch | None = None


class Method(Component):
    """Adapt an encoder and say what trains, phase by phase.

    Two additions are open to every method, so that a remedy found for one can be offered to all:
    table_rank  a trainable change of this rank on the item table (0: none)
    stem_patch  width of a trainable bottleneck on the item vectors (0: none)
    `paper` is where the method comes from, `joint` where it attaches: selection, weight, sublayer, block or stem.
    `verbs` are the verbs that it serves. `pretrained` is False for a method that starts from random weights.
    `over_routes` is True for one that does the same to all sides of a base whose users choose among them.
    """

    paper: ClassVar[str]
    joint: ClassVar[str] = "selection"
    verbs: ClassVar[tuple[str, ...]] = ("transfer",)
    pretrained: ClassVar[bool] = True
    certified: ClassVar[bool] = False  # its runs keep a certificate of what each task of their chain reads
    settled: ClassVar[tuple[tuple[str, ...], ...]] = ()  # settings that a chain goes on with: see `inherit.settled`
    over_routes: ClassVar[bool] = False
    identity_at_start: bool = True  # states equal the base's before training; False needs a reason in the docs

    def __init__(self, table_rank: int = 0, stem_patch: int = 0) -> None:
        self.table_rank, self.stem_patch = table_rank, stem_patch

    def accept(self, encoder: Encoder, verb: str, base: str, before: "Method | None" = None) -> None:
        """Raise ConfigError, with a way out, where run `base`, made by method `before`, is no start for `verb`."""
        if encoder.loop.routes and not self.over_routes:
            raise ConfigError(
                f"the users of base {base} choose between sides of its blocks, and this method would change one alone",
                "start from the base of that run, or take --method full or head",
            )

    def adapt(self, encoder: Encoder, readout: str) -> Encoder:
        """Change the encoder in place and return it; base weights are in it already, a delta comes later."""
        set_readout(encoder, readout)
        if self.table_rank:
            add_low_rank_table(encoder, self.table_rank)
        if self.stem_patch:
            patch = Patch(encoder.width, self.stem_patch, "relu", skip=True, zero_init=True)
            encoder.stem.patch = StemPatch(patch)
        self.insert(encoder)
        return encoder

    def insert(self, encoder: Encoder) -> None:
        """Insert the method's own modules; nothing by default."""

    def phases(self, encoder: Encoder) -> list[Phase]:
        """Return the phases; one by default, which trains `trainable` and what was added."""
        return [Phase("train", (*self.trainable(encoder), *self.additions(encoder)))]

    def check(self, encoder: Encoder, phases: list[Phase], objective: Objective) -> None:
        """Raise ConfigError where a phase, with all that was added to it, cannot do for this objective what it must."""

    def finish(self, encoder: Encoder) -> None:
        """Do what is left to do when all phases have trained, before the delta is written."""

    def serve(self, encoder: Encoder, task: int) -> None:
        """Let the encoder answer for task `task` of its chain, from 1; by default it answers alike for all."""

    def belongs(self, encoder: Encoder) -> tuple[str, ...]:
        """Return patterns of the encoder's tensors that are a task's own; an earlier task is served with its own."""
        return ("token", "readout.*")

    def trainable(self, encoder: Encoder) -> tuple[str, ...]:
        """Return glob patterns of the encoder's parameters that train."""
        return ()

    def additions(self, encoder: Encoder) -> tuple[str, ...]:
        """Return patterns of what the shared options and the readout added."""
        added = {
            "stem.table.low.*": self.table_rank > 0,
            "stem.table.up.*": self.table_rank > 0,
            "stem.patch.*": self.stem_patch > 0,
            "token": encoder.readout.needs_token,
            "readout.query": hasattr(encoder.readout, "query"),
        }
        return tuple(pattern for pattern, present in added.items() if present)

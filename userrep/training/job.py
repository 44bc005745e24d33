"""The job: all that a training needs, and how far it has come."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from userrep.methods.method import Phase
from userrep.models.encoder import Encoder
from userrep.objectives.objective import Objective
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared
from userrep.training.trainer import Trainer


@dataclass
class Job:
    """All that a training needs; `users (U,)` masks whose events may be trained on and selected by."""

    encoder: Encoder
    objective: Objective
    phases: list[Phase]
    data: Prepared
    protocol: Protocol
    trainer: Trainer
    users: np.ndarray
    length: int
    seed: int
    folder: Path
    validate_first: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    settled: dict[str, str] = field(default_factory=dict)  # by the loop: what `auto` came to

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        """Name what a checkpoint holds."""
        return {"encoder": self.encoder, "objective": self.objective}

    @cached_property
    def judges(self) -> np.ndarray:
        """Mask the users whose validation cases choose the epoch: the same ones whatever the seed."""
        if self.trainer.validate_users == 0:
            return self.users
        rows = np.unique(self.objective.cases(self.data, self.protocol, "valid").rows)
        drawn = np.random.default_rng(0).permutation(rows[self.users[rows]])[: self.trainer.validate_users]
        return np.isin(np.arange(len(self.users)), drawn)


@dataclass(frozen=True)
class Progress:
    """Where the loop stands, for whoever shows it; `record` is set where a line was logged."""

    step: int
    total: int
    loss: float | torch.Tensor  # a tensor where the device may still be at work on it
    sequences_per_second: float
    record: dict[str, Any] | None = None

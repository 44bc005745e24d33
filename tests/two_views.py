"""What tests of two views of a user share: encoders and objectives that are ready, their batches, pairs of vectors."""

from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from userrep.methods.surgery import set_readout
from userrep.models.encoder import Encoder
from userrep.objectives.clue import Clue
from userrep.objectives.clue_infonce import ClueInfoNce
from userrep.objectives.siamese import Siamese
from userrep.sequences.batches import Batch
from userrep.sequences.protocol import Protocol

PROTOCOL = Protocol(history=tiny.STEPS, readout="token", pretrain_users="all")
EVERYBODY = np.ones(48, dtype=bool)
KINDS = {"clue": Clue, "infonce": ClueInfoNce}
every_kind = pytest.mark.parametrize("kind", KINDS)


def ready(kind: str = "clue", model: str = "sasrec", dropout: float = 0.2, **own: Any) -> tuple[Encoder, Siamese]:
    """Return a small encoder in training, with a task token behind each history, and an objective with its heads."""
    encoder, objective = tiny.encoder(model, dropout=dropout), KINDS[kind](**own)
    set_readout(encoder, PROTOCOL.readout)
    objective.setup(encoder, tiny.data(), PROTOCOL)
    return encoder.train(), objective


def batches(objective: Siamese, batch_size: int = 8, users: np.ndarray = EVERYBODY) -> list[Batch]:
    feed = objective.feed(tiny.data(), PROTOCOL, users, tiny.STEPS, batch_size)
    return [feed.batch(index) for index in feed.order(np.random.default_rng(0))]


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def vectors(count: int = 6, width: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    left, right = torch.randn(2, count, width, generator=generator, dtype=torch.float64)
    return left, right

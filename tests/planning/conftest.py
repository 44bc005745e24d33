"""What tests of planning share: a small data set, and jobs on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from userrep.build import build
from userrep.config import compose
from userrep.methods.method import Phase
from userrep.sequences.prepare import prepare
from userrep.sequences.store import Prepared
from userrep.training.job import Job
from userrep.training.seed import seed_everything


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory, synthetic_node: dict[str, Any]) -> Prepared:
    """Some synthetic users, prepared; for reading only."""
    node = synthetic_node | {"n_users": 120, "n_items": 400, "min_length": 14, "max_length": 16}
    folder = tmp_path_factory.mktemp("few")
    return prepare(build(node), node, folder / "raw", folder / "prepared")


@pytest.fixture
def make_job(few: Prepared, tmp_path: Path) -> Callable[..., Job]:
    """Return a function that makes the job of a pre-training from overrides."""

    def make(*overrides: str) -> Job:
        seed_everything(0)
        config = compose("pretrain", ["trainer.batch_size=32", "trainer.epochs=2", *overrides])
        protocol = build(config["protocol"])
        encoder = build(config["model"], vocab_size=few.sequences().vocab_size)
        objective = build(config["objective"])
        objective.setup(encoder, few, protocol)
        trainer = build(config["trainer"])
        return Job(
            encoder=encoder, objective=objective, phases=[Phase("train", ("*",))], data=few, protocol=protocol,
            trainer=trainer, users=np.ones(few.num_users, dtype=bool), length=trainer.length, seed=0, folder=tmp_path,
        )  # fmt: skip

    return make

"""Masks, views, labels and negatives are drawn again alike: a run stopped in an epoch ends with the same bits."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from loop import LENGTH, advance, assert_same, finish

from userrep.methods.method import Phase
from userrep.models.bert4rec import Bert4Rec
from userrep.models.nextitnet import NextItNet
from userrep.objectives.all_action import AllAction
from userrep.objectives.cloze import Cloze
from userrep.objectives.clue import Clue
from userrep.objectives.clue_infonce import ClueInfoNce
from userrep.objectives.next_item import NextItem
from userrep.objectives.objective import Objective
from userrep.objectives.together import Together
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared
from userrep.training.job import Job
from userrep.training.seed import seed_everything
from userrep.training.trainer import Trainer

KINDS: dict[str, Callable[[], Objective]] = {
    "cloze": lambda: Cloze(last_share=0.3),
    "all_action": lambda: AllAction(window=5, positions=0.5, loss="sampled", negatives=8),
    "gbce": lambda: NextItem(loss="gbce", negatives=4, sampler="lambdafm"),
    "clue": lambda: Clue(mask=0.3, crop=0.2, judged=40),
    "infonce beside next item": lambda: Together({"next": NextItem(), "clue": ClueInfoNce(permute=0.5, judged=40)}),
}


def make_job(data: Prepared, folder: Path, kind: str) -> Job:
    """Make a job for a few users from nothing but its seed, as a new process would."""
    folder.mkdir(exist_ok=True)
    seed_everything(5)
    vocab, objective = data.sequences().vocab_size, KINDS[kind]()
    causal = objective.needs_causal is not False
    encoder = NextItNet(vocab, 8, [1], dropout=0.3) if causal else Bert4Rec(vocab, 8, 1, dropout=0.3)
    protocol = Protocol(history=LENGTH, readout="last")
    objective.setup(encoder, data, protocol)
    trainer = Trainer(length=LENGTH, epochs=1, batch_size=40, lr=0.01, checkpoint_seconds=0)
    return Job(
        encoder=encoder, objective=objective, phases=[Phase("train", ("*",))], data=data, trainer=trainer,
        protocol=protocol, users=np.arange(data.num_users) < 50, length=LENGTH, seed=5, folder=folder,
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_stopped_in_the_middle_ends_with_the_same_bits(prepared: Prepared, tmp_path: Path, kind: str) -> None:
    alone = finish(make_job(prepared, tmp_path / "alone", kind))
    assert not advance(make_job(prepared, tmp_path / "stopped", kind), 3)
    assert_same(finish(make_job(prepared, tmp_path / "stopped", kind)), alone)

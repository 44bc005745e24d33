"""Baselines that read a base: their features by hand, and their runs through the command line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from userrep.baselines.from_base import mean_vectors, user_vectors
from userrep.baselines.mean_items import MeanItemsRidge
from userrep.errors import UsageError
from userrep.evaluation.ranking import Csr
from userrep.models.nextitnet import NextItNet
from userrep.objectives.cross_domain import CrossDomain
from userrep.run import open_run
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared

EVENTS = Csr(np.array([2, 5, 5, 9, 3, 4]), np.array([0, 4, 6]), np.array([4, 6, 6]))
SMALL = ("model.width=8", "model.dilations=[1]", "trainer.epochs=1")


@pytest.fixture
def encoder() -> NextItNet:
    torch.manual_seed(0)
    return NextItNet(12, 4, [1, 2], 3, 0.0, True).eval()


def test_the_mean_is_over_the_newest_events(encoder: NextItNet) -> None:
    table = encoder.item_vectors().detach().double().numpy()
    found = mean_vectors(encoder, 3)(EVENTS)
    expected = [(table[5] + table[5] + table[9]) / 3, (table[3] + table[4]) / 2, np.zeros(4)]
    assert np.allclose(found, expected)


def test_user_vectors_are_what_the_readout_reads(encoder: NextItNet) -> None:
    found = user_vectors(encoder, Protocol(readout="last", history=3), seed=0)(EVENTS)
    with torch.no_grad():
        expected = encoder(torch.tensor([[5, 5, 9], [0, 3, 4]]))[:, -1].numpy()
    assert np.allclose(found[:2], expected, atol=1e-6)


def test_reading_a_base_leaves_the_stream_of_random_numbers_alone(encoder: NextItNet) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = user_vectors(encoder, Protocol(readout="token", history=3), seed=0)(EVENTS)
    assert torch.equal(torch.rand(1), expected)
    encoder.token = None
    assert np.array_equal(first, user_vectors(encoder, Protocol(readout="token", history=3), seed=0)(EVENTS))


def test_histories_of_both_domains_are_refused(two_domains: Prepared, encoder: NextItNet) -> None:
    made = MeanItemsRidge()
    made.start_from(encoder)
    with pytest.raises(UsageError, match="no vectors for the target items") as caught:
        made.fit_predict(two_domains, Protocol(), CrossDomain(history="both"))
    assert "task.history=source" in caught.value.hint


def test_a_run_takes_data_and_fold_from_its_base_and_records_it(userrep: Any, prepared_data_dir: Path) -> None:
    data = ("--data-dir", str(prepared_data_dir), "--json")
    pretrained = userrep("pretrain", "dataset=synthetic", "protocol.fold=2", *SMALL, "--run", "base", *data)
    assert pretrained.code == 0, pretrained.err
    told = userrep("baseline", "mean_items", "--from", "base", "baseline.strengths=[1.0]", "--run", "means", *data)
    assert told.code == 0, told.err
    assert (told.answer["base"], told.answer["task"]) == ("base", "gender")
    run = open_run(Path("means"))
    assert (run.config["protocol"]["fold"], run.record["test_users_seen"]) == (2, 0)
    parent = run.parent()
    assert parent is not None
    assert parent.path.name == "base"
    refused = userrep("baseline", "majority", "--from", "base", *data)
    assert refused.code != 0
    assert "starts from no run" in refused.error["message"]
    other = userrep("baseline", "mean_items", "--from", "base", "dataset=ml-100k", *data)
    assert "has dataset=synthetic" in other.error["message"]
    assert "holds no encoder" in userrep("baseline", "mean_items", "--from", "means", *data).error["message"]

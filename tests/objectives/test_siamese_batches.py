"""Batches of users who are compared with one another: nobody alone, nobody left out, training events only."""

import numpy as np
import pytest
import tiny
import torch
from two_views import EVERYBODY, PROTOCOL, batches, ready

from userrep.errors import ConfigError, DataError
from userrep.sequences.batches import Batch, InCompany
from userrep.sequences.vocab import PAD


@pytest.mark.parametrize("cut", ["newest", "all"])
@pytest.mark.parametrize("batch_size", [2, 7, 47, 48])
def test_no_user_is_alone_in_a_batch_and_nobody_is_left_out(cut: str, batch_size: int) -> None:
    _, objective = ready(cut=cut)
    found = batches(objective, batch_size)
    assert min(len(batch.items) for batch in found) >= 2
    rows = torch.cat([batch.rows for batch in found])
    assert set(rows.tolist()) == set(range(48))
    if cut == "newest":
        assert len(rows) == 48


def test_batches_of_one_join_their_neighbours() -> None:
    class Sizes:
        def order(self, rng: np.random.Generator) -> list[np.ndarray]:
            return [np.arange(1), np.arange(1), np.arange(1), np.arange(3), np.arange(1)]

        def batch(self, index: np.ndarray) -> Batch:
            raise AssertionError

    assert [len(index) for index in InCompany(Sizes()).order(np.random.default_rng(0))] == [3, 4]


def test_only_training_events_of_chosen_users_are_read() -> None:
    data, users = tiny.data(), EVERYBODY.copy()
    users[::2] = False
    sequences, ends = data.sequences(), data.split(PROTOCOL.events).train_end
    for cut in ("newest", "all"):
        _, objective = ready(cut=cut)
        said = objective.exposure(data, PROTOCOL, users).inputs["main"]
        for batch in batches(objective, users=users):
            for row, items in zip(batch.rows.tolist(), batch.items, strict=True):
                begin = int(sequences.offsets[row])
                own = sequences.items[begin : begin + ends[row]].tolist()
                assert users[row]
                assert said[begin : begin + ends[row]].all()
                real = items[items.ne(PAD)].tolist()
                assert real == own[-len(real) :] if cut == "newest" else str(real)[1:-1] in str(own)
        assert said.sum() == ends[users].sum()


def test_a_batch_size_of_one_and_a_single_user_are_refused() -> None:
    _, objective = ready()
    with pytest.raises(ConfigError, match="batch_size is 1"):
        objective.feed(tiny.data(), PROTOCOL, EVERYBODY, tiny.STEPS, 1)
    one = np.zeros(48, dtype=bool)
    one[3] = True
    with pytest.raises(DataError, match="fewer than two users"):
        objective.feed(tiny.data(), PROTOCOL, one, tiny.STEPS, 8)

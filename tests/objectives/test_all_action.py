"""All action against loops over users: which items a position may be asked for, the loss, where it ends."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch.nn import functional as F

from userrep.errors import ConfigError
from userrep.models.nextitnet import NextItNet
from userrep.objectives.all_action import Ahead, AllAction, WindowsAhead
from userrep.objectives.next_item import NextItem
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared
from userrep.sequences.vocab import PAD, RESERVED

PROTOCOL = Protocol(history=16, readout="last", pretrain_users="all")
# Users of 7, 2, 1 and 4 training events; items say where they stand, so that a label tells its place.
LENGTHS = np.array([7, 2, 1, 4])
BEGINS = np.concatenate([[0], np.cumsum(LENGTHS + 2)[:-1]])
ENDS = BEGINS + LENGTHS
ITEMS = np.arange(RESERVED, RESERVED + int((LENGTHS + 2).sum()), dtype=np.int32)
WINDOW = 3


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(length: int = 10, window: int = WINDOW, seed: int = 0) -> Ahead:
    """Put one epoch's windows into one batch."""
    feed = WindowsAhead(ITEMS, BEGINS, ENDS, np.arange(4), length, 99, window - 1)
    return feed.batch(np.concatenate(feed.order(np.random.default_rng(seed))))


def coming(item: int, window: int = WINDOW) -> list[int]:
    """List what follows an item within its user's training events."""
    place = item - RESERVED
    stop = next(end for begin, end in zip(BEGINS, ENDS, strict=True) if begin <= place < end)
    return [int(ITEMS[at]) for at in range(place + 1, min(place + 1 + window, stop))]


def encoder_for(data: Prepared) -> NextItNet:
    torch.manual_seed(0)
    encoder = NextItNet(data.sequences().vocab_size, width=8, dilations=[1, 2])
    torch.nn.init.normal_(encoder.stem.table.weight)  # type: ignore[arg-type]
    return encoder.double().eval()


@pytest.mark.parametrize("length", [2, 3, 10])
@pytest.mark.parametrize("window", [1, 2, 3, 9])
def test_labels_are_all_that_comes_within_the_window_and_within_training(length: int, window: int) -> None:
    batch = batch_of(length, window)
    objective = AllAction(window=window, actions=300)
    rows, steps = objective.predicting(batch.targets.ne(PAD), seeded())
    labels = objective.labels(batch, rows, steps, seeded())
    asked = batch.items[rows, steps]
    assert len(asked) == (LENGTHS - 1).sum()  # every training event but each user's last
    for item, drawn in zip(asked.tolist(), labels, strict=True):
        assert sorted(set(drawn.tolist())) == coming(item, window)


def test_each_coming_event_is_drawn_alike_often() -> None:
    batch, objective = batch_of(), AllAction(window=WINDOW, actions=5_000)
    rows, steps = objective.predicting(batch.targets.ne(PAD), seeded())
    for drawn in objective.labels(batch, rows, steps, seeded()):
        counts = torch.unique(drawn, return_counts=True)[1]
        assert len(counts) == 1 or chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("share", [0.01, 0.4, 1.0])
def test_a_share_of_the_positions_predicts_and_one_at_least(share: float) -> None:
    supervised = batch_of().targets.ne(PAD)
    rows, steps = AllAction(positions=share).predicting(supervised, seeded())
    assert len(rows) == max(1, round(share * int(supervised.sum())))
    assert len(set(zip(rows.tolist(), steps.tolist(), strict=True))) == len(rows)
    assert supervised[rows, steps].all()


@pytest.mark.parametrize("form", [{"tied": True}, {"tied": False, "bias": True}])
def test_the_loss_is_the_mean_cross_entropy_of_positions_and_their_labels(prepared: Prepared, form: dict) -> None:
    encoder, objective = encoder_for(prepared), AllAction(window=4, actions=3, **form)
    objective.setup(encoder, prepared, PROTOCOL)
    with torch.no_grad():
        for parameter in objective.double().parameters():
            parameter.normal_(generator=seeded())
    feed = objective.feed(prepared, PROTOCOL, np.ones(prepared.num_users, dtype=bool), 10, 16)
    batch = feed.batch(feed.order(np.random.default_rng(0))[0])
    assert isinstance(batch, Ahead)
    rows, steps = batch.targets.ne(PAD).nonzero(as_tuple=True)
    labels = objective.labels(batch, rows, steps, seeded(1))
    states, bias = encoder(batch.items), 0 if objective.bias is None else objective.bias
    losses = []
    for row, step, drawn in zip(rows.tolist(), steps.tolist(), labels, strict=True):
        scores = (objective.item_table(encoder) @ states[row, step] + bias)[RESERVED:]
        losses += [F.cross_entropy(scores, label - RESERVED) for label in drawn]
    torch.testing.assert_close(objective.loss(encoder, batch, seeded(1)), torch.stack(losses).mean())


@pytest.mark.parametrize("loss", ["full", "sampled", "bpr"])
def test_a_window_of_one_is_the_next_item(prepared: Prepared, loss: str) -> None:
    encoder, everybody = encoder_for(prepared), np.ones(prepared.num_users, dtype=bool)
    values = []
    for objective in (AllAction(window=1, actions=1, loss=loss, negatives=4), NextItem(loss=loss, negatives=4)):
        objective.setup(encoder, prepared, PROTOCOL)
        feed = objective.feed(prepared, PROTOCOL, everybody, 10, 16)
        batch = feed.batch(feed.order(np.random.default_rng(0))[0])
        generator = seeded()
        if isinstance(objective, NextItem):  # all action draws its labels first
            torch.rand(int(batch.targets.ne(PAD).sum()), generator=generator, dtype=torch.float64)
        values.append(objective.loss(encoder, batch, generator))
    torch.testing.assert_close(*values, rtol=1e-12, atol=0)


def test_it_is_judged_by_the_next_item(prepared: Prepared) -> None:
    encoder, found = encoder_for(prepared).float(), []
    for objective in (AllAction(), NextItem()):
        objective.setup(encoder, prepared, PROTOCOL)
        found.append(objective.evaluate(encoder, prepared, PROTOCOL, "valid"))
        assert objective.task_name == "next_item"
    assert found[0].metrics() == found[1].metrics()


def test_a_batch_keeps_its_future_on_another_device() -> None:
    moved = batch_of().to(torch.device("meta"))
    assert isinstance(moved, Ahead)
    assert {tensor.device.type for tensor in (moved.items, moved.targets, moved.rows, moved.future)} == {"meta"}


@pytest.mark.parametrize("wrong", [{"window": 0}, {"actions": 0}, {"positions": 0.0}, {"positions": 1.5}])
def test_settings_that_cannot_work_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError) as caught:
        AllAction(**wrong)
    assert caught.value.hint

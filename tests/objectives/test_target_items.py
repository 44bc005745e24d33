"""The head of tasks in a target domain: its table, its loss, its negatives and how its answers are ranked."""

from typing import Any

import numpy as np
import pytest
import tiny
import torch

from userrep.baselines.popularity import Popularity
from userrep.build import build
from userrep.errors import ConfigError
from userrep.methods.matrix import shrink
from userrep.models.encoder import Encoder
from userrep.objectives.cross_domain import CrossDomain
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared
from userrep.sequences.vocab import RESERVED
from userrep.training.weights import count

PROTOCOL = Protocol(history=30, events="chain")


def ready(data: Prepared, readout: str = "mean", **settings: Any) -> tuple[Encoder, CrossDomain]:
    node, task = shrink(tiny.node("model", "nextitnet_paper")), CrossDomain(**settings)
    encoder = build(node, vocab_size=data.sequences().vocab_size)
    tiny.method("full").adapt(encoder, readout)
    task.setup(encoder, data, PROTOCOL)
    return encoder, task


def test_the_head_is_one_table_of_target_items_as_wide_as_the_user_vector(two: Prepared) -> None:
    encoder, task = ready(two, "mean+token")
    assert count(task) == two.sequences("target").vocab_size * 2 * encoder.width
    assert count(ready(two, bias=True)[1]) == two.sequences("target").vocab_size * (encoder.width + 1)


@pytest.mark.parametrize("settings", [{}, {"bias": True}, {"norm": "layer"}, {"norm": "batch"}])
def test_the_loss_is_the_softmax_over_the_target_items(two: Prepared, settings: dict[str, Any]) -> None:
    encoder, task = ready(two, **settings)
    encoder.eval()
    task.eval()
    feed = task.feed(two, PROTOCOL, np.ones(two.num_users, dtype=bool), 30, 16)
    batch = feed.batch(feed.order(np.random.default_rng(0))[0])
    with torch.no_grad():
        user = task.standardise(encoder.user(batch.items))
        logits = user @ task.table.T + (0 if task.bias is None else task.bias)
        expected = torch.nn.functional.cross_entropy(logits[:, RESERVED:], batch.targets - RESERVED)
    torch.testing.assert_close(task.loss(encoder, batch, torch.Generator()), expected)


def test_negatives_are_drawn_by_the_training_targets_alone(two: Prepared) -> None:
    _, task = ready(two, loss="sampled", negatives=8)
    users = np.arange(two.num_users) % 2 == 0
    task.feed(two, PROTOCOL, users, 30, 16)
    cases = task.cases(two, PROTOCOL, "train")
    counts = np.bincount(cases.targets[users[cases.rows]], minlength=two.sequences("target").vocab_size)
    weights = np.maximum(counts, 1.0)
    weights[:RESERVED] = 0
    np.testing.assert_allclose(task.item_loss.sampler.probabilities.numpy(), weights / weights.sum())


def test_a_frozen_encoder_is_asked_once_and_gives_the_same_loss(two: Prepared) -> None:
    encoder, task = ready(two, "mean+last", norm="layer")
    encoder.eval()
    feed = task.feed(two, PROTOCOL, np.ones(two.num_users, dtype=bool), 30, 16)
    cached = task.cached(feed, encoder, two, PROTOCOL)
    index = feed.order(np.random.default_rng(0))[0]
    plain, kept = feed.batch(index), cached.batch(index)
    losses = [task.loss(encoder, batch, torch.Generator()) for batch in (plain, kept)]
    torch.testing.assert_close(*losses)


def test_every_target_of_a_user_has_a_row_of_its_own_ranked_as_by_a_plain_sort(two: Prepared) -> None:
    encoder, task = ready(two)
    encoder.eval()
    result = task.evaluate(encoder, two, PROTOCOL, "test")
    cases = task.cases(two, PROTOCOL, "test")
    assert result.users.tolist() == cases.rows.tolist()
    assert len(set(result.users.tolist())) < len(result)
    inputs, wanted = two.sequences("main"), two.sequences("target")
    for place in range(0, len(cases), 7):
        row, end, target = cases.rows[place], cases.ends[place], cases.targets[place]
        items = torch.from_numpy(inputs.items[max(inputs.offsets[row], end - 30) : end].astype(np.int64))[None]
        with torch.no_grad():
            scores = (encoder.user(items) @ task.table.T)[0].numpy()
        offered = set(range(RESERVED, wanted.vocab_size)) - set(wanted.items[wanted.offsets[row] : cases.met[place]])
        better = sum(scores[item] > scores[target] + 1e-6 for item in offered - {int(target)})
        assert result.greater[place] == better


def test_results_are_sliced_by_history_popularity_and_earlier_targets(two: Prepared) -> None:
    task = CrossDomain()
    cases, train = task.cases(two, PROTOCOL, "test"), task.cases(two, PROTOCOL, "train")
    values = task.slice_values(two, PROTOCOL, cases)
    assert set(values) == {"history", "popularity", "earlier_targets"}
    assert values["history"].min() >= 1
    assert values["popularity"].tolist() == [int(np.sum(train.targets == target)) for target in cases.targets]
    assert values["earlier_targets"].min() == 0
    assert values["earlier_targets"].max() <= 3


def test_a_head_that_starts_at_the_shares_is_the_popularity_baseline(two: Prepared) -> None:
    encoder, task = ready(two, bias=True, start="shares")
    found = task.eval().evaluate(encoder.eval(), two, PROTOCOL, "test").table()["rank"]
    assert found.tolist() == Popularity().fit_predict(two, PROTOCOL, CrossDomain()).table()["rank"].tolist()
    with pytest.raises(ConfigError, match="there is none"):
        CrossDomain(start="shares")

"""Next-item prediction against naive loops: the loss, the ranks, the counts behind the sampler."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from userrep.errors import ConfigError
from userrep.models.nextitnet import NextItNet
from userrep.objectives.behaviour import count_events
from userrep.objectives.next_item import NextItem
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared
from userrep.sequences.vocab import PAD, RESERVED

PROTOCOL = Protocol(history=16, readout="last", pretrain_users="all")
FORMS = [{"tied": True}, {"tied": False}, {"tied": True, "bias": True}, {"tied": False, "bias": True}]
every_form = pytest.mark.parametrize("form", FORMS, ids=["tied", "untied", "tied-bias", "untied-bias"])


def encoder_for(data: Prepared) -> NextItNet:
    torch.manual_seed(0)
    encoder = NextItNet(data.sequences().vocab_size, width=8, dilations=[1, 2])
    torch.nn.init.normal_(encoder.stem.table.weight)  # type: ignore[arg-type]
    return encoder.eval()


def ready(data: Prepared, **form: object) -> tuple[NextItNet, NextItem]:
    encoder, objective = encoder_for(data), NextItem(**form)  # type: ignore[arg-type]
    objective.setup(encoder, data, PROTOCOL)
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.normal_()
    return encoder, objective.eval()


def naive_scores(encoder: NextItNet, objective: NextItem, states: torch.Tensor) -> torch.Tensor:
    scores = states @ objective.item_table(encoder).t()
    return scores if objective.bias is None else scores + objective.bias


@every_form
def test_the_full_loss_is_cross_entropy_over_the_items_at_real_positions(prepared: Prepared, form: dict) -> None:
    encoder, objective = ready(prepared, **form)
    feed = objective.feed(prepared, PROTOCOL, np.ones(prepared.num_users, dtype=bool), 10, 64)
    batch = feed.batch(feed.order(np.random.default_rng(0))[0])
    scores = naive_scores(encoder, objective, encoder(batch.items))
    scores[..., :RESERVED] = -torch.inf
    wanted = F.cross_entropy(scores.flatten(0, 1), batch.targets.flatten(), ignore_index=PAD)
    torch.testing.assert_close(objective.loss(encoder, batch, torch.Generator()), wanted)


@every_form
def test_ranks_equal_those_of_a_loop_over_users(prepared: Prepared, form: dict) -> None:
    encoder, objective = ready(prepared, **form)
    sequences, split = prepared.sequences(), prepared.split("leave_one_out")
    result = objective.evaluate(encoder, prepared, PROTOCOL, "test")
    assert result.users.tolist() == list(range(prepared.num_users))
    for user in result.users[::7].tolist():
        own = sequences.items[sequences.offsets[user] : sequences.offsets[user + 1]].astype(np.int64)
        past, target = own[: split.valid_end[user]], own[split.valid_end[user]]
        with torch.no_grad():
            state = encoder(torch.from_numpy(past[-PROTOCOL.history :])[None])[0, -1]
            scores = naive_scores(encoder, objective, state)
        wanted = set(range(RESERVED, encoder.vocab_size)) - set(past.tolist()) - {int(target)}
        greater = sum((scores[item] > scores[target]).item() for item in wanted)
        assert result.greater[user] == greater
        assert result.ties[user] == 0


def test_validation_does_not_read_the_test_event(prepared: Prepared) -> None:
    _, objective = ready(prepared)
    valid, test = (objective.cases(prepared, PROTOCOL, role) for role in ("valid", "test"))
    assert (valid.ends < prepared.sequences().offsets[valid.rows + 1] - 1).all()
    assert (test.ends == prepared.sequences().offsets[test.rows + 1] - 1).all()


@settings(max_examples=80)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), min_size=1, max_size=9), st.integers(0, 50))
def test_events_are_counted_inside_training_ranges_even_beside_users_with_none(
    lengths: list[tuple[int, int]], seed: int
) -> None:
    total = [own for own, _ in lengths]
    offsets = np.concatenate([[0], np.cumsum(total)]).astype(np.int64)
    items = np.random.default_rng(seed).integers(RESERVED, 9, size=offsets[-1]).astype(np.int32)
    ends = np.maximum(offsets[:-1], offsets[1:] - [held for _, held in lengths])
    wanted = np.zeros(9, dtype=np.int64)
    for begin, end in zip(offsets, ends, strict=False):
        np.add.at(wanted, items[begin:end], 1)
    assert count_events(items, offsets[:-1], ends, 9).tolist() == wanted.tolist()


def test_the_sampler_knows_training_events_only(prepared: Prepared) -> None:
    _, objective = ready(prepared, loss="sampled")
    users = np.zeros(prepared.num_users, dtype=bool)
    users[:40] = True
    objective.feed(prepared, PROTOCOL, users, 10, 8)
    assert objective.item_loss.sampler is not None
    sequences, split = prepared.sequences(), prepared.split("leave_one_out")
    counts = np.zeros(sequences.vocab_size)
    for user in range(40):
        begin = sequences.offsets[user]
        np.add.at(counts, sequences.items[begin : begin + split.train_end[user]], 1)
    counts = np.maximum(counts, 1)
    counts[:RESERVED] = 0
    np.testing.assert_allclose(objective.item_loss.sampler.probabilities.numpy(), counts / counts.sum())


@pytest.mark.parametrize(
    "wrong",
    [{"loss": "half"}, {"sampler": "popular"}, {"loss": "sampled", "bias": True}, {"loss": "sampled", "negatives": 0}],
)
def test_forms_that_do_not_exist_are_refused_with_those_that_do(wrong: dict) -> None:
    with pytest.raises(ConfigError) as caught:
        NextItem(**wrong)
    assert caught.value.hint

"""Cloze against loops: what is hidden, what stands in its place, the loss, the mask that asks for the next item."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor
from torch.nn import functional as F

from userrep.errors import ConfigError
from userrep.models.bert4rec import Bert4Rec
from userrep.objectives.cloze import Cloze, Spans
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared
from userrep.sequences.vocab import MASK, PAD, RESERVED

PROTOCOL = Protocol(history=16, readout="last", pretrain_users="all")
VOCAB = 50


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def padded(lengths: list[int], steps: int = 20) -> Tensor:
    items = torch.randint(RESERVED, VOCAB, (len(lengths), steps), generator=seeded(9))
    for row, length in enumerate(lengths):
        items[row, : steps - length] = PAD
    return items


def encoder_for(data: Prepared) -> Bert4Rec:
    torch.manual_seed(0)
    encoder = Bert4Rec(data.sequences().vocab_size, width=8, layers=1, max_length=20)
    torch.nn.init.normal_(encoder.stem.table.weight)  # type: ignore[arg-type]
    return encoder.eval()


@pytest.mark.parametrize("length", [1, 2, 5, 40])
def test_each_training_event_is_in_one_span_and_a_user_of_one_event_in_none(length: int) -> None:
    lengths = np.array([6, 1, 0, 2, 9])
    begins = np.concatenate([[0], np.cumsum(lengths + 1)[:-1]])
    items = np.arange(RESERVED, RESERVED + int((lengths + 1).sum()), dtype=np.int32)
    feed = Spans(items, begins, begins + lengths, np.arange(5), length, 3)
    wanted = [(row, int(items[at])) for row in (0, 3, 4) for at in range(begins[row], begins[row] + lengths[row])]
    for epoch in range(4):
        found = []
        for index in feed.order(np.random.default_rng(epoch)):
            batch = feed.batch(index)
            assert batch.items.shape[1] <= length
            assert torch.equal(batch.items, batch.targets)
            for row, span in zip(batch.rows.tolist(), batch.items, strict=True):
                own = span[span != PAD].tolist()
                assert own == list(range(own[0], own[0] + len(own)))
                found += [(row, item) for item in own]
        assert sorted(found) == wanted


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 1.0])
def test_a_share_of_each_span_is_hidden_one_event_at_least_and_no_padding(share: float) -> None:
    lengths = [1, 2, 3, 7, 13, 20]
    real = padded(lengths).ne(PAD)
    hidden = Cloze(mask_share=share, last_share=0).hide(real, seeded())
    assert hidden.sum(dim=1).tolist() == [max(1, round(share * length)) for length in lengths]
    assert not (hidden & ~real).any()


def test_each_event_is_hidden_alike_often() -> None:
    real = padded([10] * 2000).ne(PAD)
    hidden = Cloze(mask_share=0.3, last_share=0).hide(real, seeded()).sum(dim=0)[-10:]
    assert chisquare(hidden).pvalue > 1e-3


def test_more_padding_hides_the_same_events() -> None:
    real, objective = padded([3, 8, 20]).ne(PAD), Cloze(last_share=0.5)
    longer = F.pad(real, (7, 0))
    assert torch.equal(objective.hide(longer, seeded(2))[:, 7:], objective.hide(real, seeded(2)))


def test_a_share_of_the_spans_hides_the_last_event_alone() -> None:
    real = padded([20] * 3000).ne(PAD)
    last = torch.zeros(20, dtype=torch.bool)
    last[-1] = True
    for share, low, high in ((0.0, 0, 0), (0.1, 240, 360), (1.0, 3000, 3000)):
        hidden = Cloze(mask_share=0.5, last_share=share).hide(real, seeded())
        assert low <= hidden.eq(last).all(dim=1).sum() <= high


def test_hidden_events_become_the_mask_any_item_or_stay_and_others_are_left_alone() -> None:
    items = torch.full((1000, 20), VOCAB - 1)
    objective = Cloze(mask_share=0.5, masked=0.6, random=0.3, last_share=0)
    hidden = objective.hide(items.ne(PAD), seeded())
    found = objective.corrupt(items, hidden, VOCAB, seeded(1))
    assert torch.equal(found[~hidden], items[~hidden])
    counts = torch.bincount(found[hidden], minlength=VOCAB)
    each = 0.3 / (VOCAB - RESERVED)  # any item is any of them, its own among them
    shares = torch.full((VOCAB,), each, dtype=torch.float64)
    shares[PAD], shares[MASK], shares[-1] = 0, 0.6, 0.1 + each
    assert counts[PAD] == 0
    assert chisquare(counts[1:], shares[1:] * 10_000).pvalue > 1e-3


@pytest.mark.parametrize("form", [{"tied": True}, {"tied": False, "bias": True}])
def test_the_loss_is_cross_entropy_at_the_hidden_events_alone(prepared: Prepared, form: dict) -> None:
    encoder, objective = encoder_for(prepared).double(), Cloze(**form)
    objective.setup(encoder, prepared, PROTOCOL)
    with torch.no_grad():
        for parameter in objective.double().parameters():
            parameter.normal_(generator=seeded())
    feed = objective.feed(prepared, PROTOCOL, np.ones(prepared.num_users, dtype=bool), 10, 16)
    batch = feed.batch(feed.order(np.random.default_rng(0))[0])
    generator = seeded(3)
    hidden = objective.hide(batch.items.ne(PAD), generator)
    states = encoder(objective.corrupt(batch.items, hidden, encoder.vocab_size, generator))
    losses = []
    for row, step in hidden.nonzero().tolist():
        scores = objective.item_table(encoder) @ states[row, step] + (0 if objective.bias is None else objective.bias)
        losses.append(F.cross_entropy(scores[RESERVED:], batch.items[row, step] - RESERVED))
    torch.testing.assert_close(objective.loss(encoder, batch, seeded(3)), torch.stack(losses).mean())


def test_a_wholly_masked_event_cannot_be_read_from_the_input(prepared: Prepared) -> None:
    encoder, objective = encoder_for(prepared), Cloze(masked=1.0, random=0.0)
    items = padded([20] * 4)
    hidden = objective.hide(items.ne(PAD), seeded())
    other = items.masked_fill(hidden, RESERVED)
    found, again = (objective.corrupt(own, hidden, encoder.vocab_size, seeded(1)) for own in (items, other))
    assert torch.equal(found, again)


def test_the_next_item_is_asked_for_by_a_mask_behind_the_newest_events(prepared: Prepared) -> None:
    encoder, objective = encoder_for(prepared), Cloze()
    objective.setup(encoder, prepared, PROTOCOL)
    result = objective.evaluate(encoder, prepared, PROTOCOL, "test")
    sequences, split = prepared.sequences(), prepared.split("leave_one_out")
    for user in result.users[::17].tolist():
        own = sequences.items[sequences.offsets[user] : sequences.offsets[user + 1]].astype(np.int64)
        past, target = own[: split.valid_end[user]], own[split.valid_end[user]]
        asked = torch.tensor([[*past[-(PROTOCOL.history - 1) :].tolist(), MASK]])
        with torch.no_grad():
            scores = encoder.item_vectors() @ encoder(asked)[0, -1]
        others = set(range(RESERVED, encoder.vocab_size)) - set(past.tolist()) - {int(target)}
        assert result.greater[user] == sum((scores[item] > scores[target]).item() for item in others)


@pytest.mark.parametrize(
    "wrong",
    [{"mask_share": 0.0}, {"mask_share": 1.2}, {"masked": 0.8, "random": 0.3}, {"random": -0.1}, {"last_share": 2.0}],
)
def test_settings_that_cannot_work_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError) as caught:
        Cloze(**wrong)
    assert caught.value.hint

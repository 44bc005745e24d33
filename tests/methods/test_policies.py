"""Policies: what they read of a history, and what of it hangs on others."""

import pytest
import tiny
import torch
from torch import Tensor, nn

from userrep.methods.policies import POLICIES, Policy, Random, Reading, Wanted
from userrep.models.encoder import Encoder

BLOCKS = 3


def policy(name: str, own: bool = False) -> tuple[Encoder, Policy]:
    encoder = tiny.encoder("nextitnet")
    torch.manual_seed(0)
    made = POLICIES[name].make(Wanted(encoder.width, BLOCKS, 0.3, encoder.item_vectors() if own else None))
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return encoder, made.eval()


def read(encoder: Encoder, made: Policy, items: Tensor, each: bool = False) -> Tensor:
    stem, keep = encoder.stemmed(items)
    return made(items, stem, keep, each)


@pytest.mark.parametrize("name", POLICIES)
def test_the_whole_history_is_what_its_last_step_reads(name: str) -> None:
    encoder, made = policy(name)
    items = tiny.histories()
    whole, each = read(encoder, made, items), read(encoder, made, items, each=True)
    assert whole.shape == (5, 1, BLOCKS, 2)
    torch.testing.assert_close(each[:, -1:], whole)


@pytest.mark.parametrize("name", POLICIES)
def test_a_step_reads_nothing_that_comes_later(name: str) -> None:
    encoder, made = policy(name)
    items = tiny.histories()
    changed = items.clone()
    changed[:, 8:] = (changed[:, 8:] + 5) % (encoder.vocab_size - 2) + 2
    before, after = (read(encoder, made, each, each=True).expand(5, 12, BLOCKS, 2) for each in (items, changed))
    assert torch.equal(before[:, :8], after[:, :8])
    assert name == "global" or not torch.equal(before[:, 8:], after[:, 8:])


@pytest.mark.parametrize("name", POLICIES)
def test_more_padding_changes_no_choice(name: str) -> None:
    encoder, made = policy(name)
    items = tiny.histories()
    padded = nn.functional.pad(items, (7, 0))
    torch.testing.assert_close(read(encoder, made, padded), read(encoder, made, items), atol=1e-5, rtol=1e-5)


def test_the_mean_is_over_real_items_alone() -> None:
    encoder, made = policy("mean")
    assert isinstance(made, Reading)
    items = tiny.histories()
    stem, keep = encoder.stemmed(items)
    wanted = torch.stack([stem[row][items[row] != 0].mean(0) for row in range(5)])
    torch.testing.assert_close(made.trunk(stem, keep, False).squeeze(1), wanted)


def test_the_stem_gets_no_gradient_from_a_policy_and_an_own_table_does() -> None:
    for own in (False, True):
        encoder, made = policy("mean", own)
        read(encoder, made, tiny.histories()).sum().backward()
        assert encoder.stem.table.weight.grad is None
        tables = [name for name, _ in made.named_parameters() if "table" in name]
        assert bool(tables) is own


def test_an_own_table_starts_as_the_stems_and_is_another() -> None:
    encoder = tiny.encoder("nextitnet")
    made = POLICIES["mean"].make(Wanted(encoder.width, BLOCKS, 0.5, encoder.item_vectors()))
    assert isinstance(made, Reading)
    assert made.table is not None
    assert torch.equal(made.table.weight, encoder.item_vectors())
    assert made.table.weight.data_ptr() != encoder.item_vectors().data_ptr()


@pytest.mark.parametrize("usage", [0.0, 0.2, 0.5, 1.0])
def test_a_random_policy_uses_blocks_as_often_as_it_is_told_and_hangs_on_the_user_alone(usage: float) -> None:
    made = Random(BLOCKS, usage).eval()
    items = torch.randint(2, 500, (4000, 9), generator=torch.Generator().manual_seed(0))
    stem = torch.zeros(4000, 9, 1)
    margin = made(items, stem, stem, False)[..., 0].squeeze(1)
    taken = (margin > 0).double()
    assert (abs(taken.mean(0) - usage) < 3.5 * (usage * (1 - usage) / 4000) ** 0.5 + 1e-9).all()
    if 0 < usage < 1:
        both = (taken[:, 0] * taken[:, 1]).mean()  # blocks are drawn apart
        assert abs(float(both) - usage**2) < 0.03
    alone = torch.cat([made(row[None], stem[:1], stem[:1], False)[..., 0].squeeze(1) for row in items[:20]])
    assert torch.equal(alone, margin[:20])


def test_a_random_policy_draws_anew_in_training() -> None:
    made = Random(BLOCKS, 0.5).train()
    items, stem = tiny.histories(), torch.zeros(5, 12, 1)
    assert (made(items, stem, stem, False) == 0).all()  # even chances, which the gates draw by
    assert not list(made.parameters())
    assert [name for name, kind in POLICIES.items() if not kind.learns] == ["random"]

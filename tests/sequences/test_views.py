"""Views against loops over users: what each operator leaves, how much of it, and from which draws."""

import pytest
import torch
from torch import Tensor

from userrep.errors import ConfigError
from userrep.sequences.views import OPERATORS, Views, crop, mask, permute
from userrep.sequences.vocab import MASK, PAD, RESERVED

STEPS = 12
SHARES = (0.1, 0.3, 0.5, 0.9)
LENGTHS = (0, 1, 2, 3, 7, 12)


def histories(seed: int = 0) -> Tensor:
    """Make histories of some lengths behind padding, in which no item comes twice."""
    rows = []
    for length in LENGTHS:
        drawn = RESERVED + torch.randperm(50, generator=torch.Generator().manual_seed(seed + length))[:length]
        rows.append(torch.cat([torch.full((STEPS - length,), PAD), drawn]))
    return torch.stack(rows)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def events(row: Tensor) -> list[int]:
    """Return the events of a row, which stand behind all padding."""
    found = row.tolist()
    real = [item for item in found if item != PAD]
    assert found == [PAD] * (len(found) - len(real)) + real
    return real


def count(length: int, share: float) -> int:
    return min(length, max(1, int(share * length)))


def segment(before: list[int], size: int) -> list[tuple[list[int], list[int], list[int]]]:
    """Return all ways to part a history in what comes before a segment of a size, the segment, and the rest."""
    return [(before[:at], before[at : at + size], before[at + size :]) for at in range(len(before) - size + 1)]


@pytest.mark.parametrize("share", SHARES)
def test_a_crop_deletes_one_segment_and_never_the_whole_history(share: float) -> None:
    for seed in range(20):
        items = histories(seed)
        for before, after in zip(items, crop(items, share, draws(seed)), strict=True):
            left, found = events(before), events(after)
            size = min(count(len(left), share), max(0, len(left) - 1))
            assert found in [head + tail for head, _, tail in segment(left, size)]


@pytest.mark.parametrize("share", SHARES)
def test_a_permutation_keeps_the_items_and_what_stands_outside_one_segment(share: float) -> None:
    for seed in range(20):
        items = histories(seed)
        for before, after in zip(items, permute(items, share, draws(seed)), strict=True):
            left, found = events(before), events(after)
            size = count(len(left), share)
            shuffles = [
                found[: len(head)] == head and found[len(found) - len(tail) :] == tail and sorted(found) == sorted(left)
                for head, _, tail in segment(left, size)
            ]
            assert any(shuffles)


@pytest.mark.parametrize("share", SHARES)
def test_a_mask_hides_exactly_its_share_and_moves_nothing(share: float) -> None:
    items = histories()
    hidden = mask(items, share, draws())
    assert hidden.eq(MASK).sum(dim=1).tolist() == [count(length, share) for length in LENGTHS]
    assert torch.equal(hidden[hidden.ne(MASK)], items[hidden.ne(MASK)])


def test_every_segment_is_as_likely() -> None:
    items = torch.arange(RESERVED, RESERVED + 5).repeat(6000, 1)
    gone = crop(items, 0.4, draws()).eq(PAD).sum()
    assert gone == 2 * len(items)
    newest = crop(items, 0.4, draws())[:, -1]
    shares = torch.stack([newest.eq(RESERVED + place).float().mean() for place in (2, 4)])
    torch.testing.assert_close(shares, torch.tensor([0.25, 0.75]), atol=0.02, rtol=0)  # one of four is at the end


def test_a_permutation_shuffles_to_every_order() -> None:
    items = torch.arange(RESERVED, RESERVED + 3).repeat(6000, 1)
    orders, counts = permute(items, 0.99, draws()).unique(dim=0, return_counts=True)
    assert len(orders) == 3  # 0.99 of three is two: the first two are swapped, or the last two, or neither
    torch.testing.assert_close(counts.sort().values / len(items), torch.tensor([0.25, 0.25, 0.5]), atol=0.02, rtol=0)


@pytest.mark.parametrize("name", OPERATORS)
def test_more_padding_draws_the_same_view(name: str) -> None:
    items = histories()
    padded = torch.nn.functional.pad(items, (5, 0))
    assert torch.equal(OPERATORS[name](padded, 0.5, draws())[:, 5:], OPERATORS[name](items, 0.5, draws()))


@pytest.mark.parametrize("name", OPERATORS)
def test_two_views_are_drawn_apart_and_a_seed_repeats_them(name: str) -> None:
    views, items, generator = Views(**{name: 0.5}), histories(), draws()
    first, second = (views.draw(items, generator) for _ in range(2))
    assert not torch.equal(first, second)
    again = draws()
    assert torch.equal(views.draw(items, again), first)
    assert torch.equal(views.draw(items, again), second)


def test_operators_apply_one_after_the_other_and_none_is_the_history() -> None:
    items = histories()
    assert not Views().explicit
    assert torch.equal(Views().draw(items, draws()), items)
    one = draws()
    expected = mask(permute(crop(items, 0.3, one), 0.2, one), 0.4, one)
    assert torch.equal(Views(crop=0.3, permute=0.2, mask=0.4).draw(items, draws()), expected)


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5])
@pytest.mark.parametrize("name", OPERATORS)
def test_a_share_that_would_leave_nothing_is_refused(name: str, share: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} is {share}"):
        Views(**{name: share})

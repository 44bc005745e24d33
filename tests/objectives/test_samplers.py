"""Where shared negatives come from: the wanted distribution, no reserved id, draws that a seed repeats."""

import math
from collections.abc import Callable

import pytest
import torch
from scipy.stats import chisquare

from userrep.errors import ConfigError
from userrep.objectives.samplers import SAMPLERS, Sampler, by_count, by_rank
from userrep.sequences.vocab import RESERVED

COUNTS = torch.tensor([999, 999, 1, 2, 5, 0, 20, 50, 8])
DRAWS = 200_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_draws_follow_the_counts_to_the_power(power: float) -> None:
    drawn = torch.bincount(Sampler(by_count(COUNTS, power)).draw(DRAWS, seeded()), minlength=len(COUNTS))
    weights = COUNTS[RESERVED:].clamp_min(1).double() ** power
    assert chisquare(drawn[RESERVED:], DRAWS * weights / weights.sum()).pvalue > 1e-3


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_reserved_ids_are_never_drawn(power: float) -> None:
    drawn = Sampler(by_count(COUNTS, power)).draw(DRAWS, seeded())
    assert drawn.min() >= RESERVED
    assert drawn.max() < len(COUNTS)


def test_an_item_without_events_can_be_drawn() -> None:
    assert (Sampler(by_count(COUNTS, 1.0)).draw(DRAWS, seeded()) == 5).any()


def test_the_edges_of_the_unit_interval_give_items(monkeypatch: pytest.MonkeyPatch) -> None:
    for edge in (0.0, 1.0 - 2.0**-53):
        monkeypatch.setattr(
            torch, "rand", lambda count, edge=edge, **_: torch.full((count,), edge, dtype=torch.float64)
        )
        assert RESERVED <= Sampler(by_count(COUNTS, 1.0)).draw(1, seeded()).item() < len(COUNTS)


def test_expected_counts_are_those_of_the_draws() -> None:
    sampler = Sampler(by_count(COUNTS, 1.0))
    expected = sampler.log_expected(DRAWS).exp()
    drawn = torch.bincount(sampler.draw(DRAWS, seeded()), minlength=len(COUNTS))
    torch.testing.assert_close(expected[RESERVED:], drawn[RESERVED:].float(), rtol=0.1, atol=0)
    assert expected[RESERVED:].sum().item() == pytest.approx(DRAWS, rel=1e-5)


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    sampler = Sampler(by_count(COUNTS, 1.0))
    assert torch.equal(sampler.draw(50, seeded(3)), sampler.draw(50, seeded(3)))
    assert not torch.equal(sampler.draw(50, seeded(3)), sampler.draw(50, seeded(4)))


def test_a_negative_power_is_refused() -> None:
    with pytest.raises(ConfigError, match="power is -1"):
        by_count(COUNTS, -1)


@pytest.mark.parametrize("rho", [0.05, 0.3, 5.0])
def test_static_ranks_are_drawn_as_often_as_their_exponential_says(rho: float) -> None:
    drawn = torch.bincount(Sampler(by_rank(COUNTS, rho)).draw(DRAWS, seeded()), minlength=len(COUNTS))
    items = sorted(range(RESERVED, len(COUNTS)), key=lambda item: (-int(COUNTS[item]), item))
    weights = torch.tensor([math.exp(-(1 + items.index(item)) / (rho * len(items))) for item in sorted(items)])
    expected = DRAWS * weights.double() / weights.double().sum()
    seen = expected > 5
    assert drawn[:RESERVED].sum() == 0
    found, wanted = drawn[RESERVED:][seen], expected[seen]
    assert chisquare(found, wanted * found.sum() / wanted.sum()).pvalue > 1e-3


def test_a_rho_of_zero_or_less_is_refused() -> None:
    with pytest.raises(ConfigError, match="rho is 0"):
        by_rank(COUNTS, 0)


@pytest.mark.parametrize("weigh", SAMPLERS.values(), ids=SAMPLERS)
def test_others_are_drawn_as_often_as_by_throwing_the_answer_away(weigh: Callable) -> None:
    sampler = Sampler(weigh(COUNTS, 0.3))
    for answer in range(RESERVED, len(COUNTS)):
        drawn = sampler.draw_others(torch.full((200,), answer), 100, seeded(answer))
        assert drawn.shape == (200, 100)
        expected = sampler.probabilities.clone()
        expected[answer] = 0
        counts = torch.bincount(drawn.flatten(), minlength=len(COUNTS))
        assert counts[answer] == counts[:RESERVED].sum() == 0
        others = expected > 0
        assert chisquare(counts[others], 20_000 * expected[others] / expected.sum()).pvalue > 1e-4


def test_an_answer_that_holds_nearly_all_of_the_weight_is_still_never_drawn() -> None:
    for answer in (RESERVED, RESERVED + 1, RESERVED + 2):
        weights = torch.full((RESERVED + 3,), 1e-300, dtype=torch.float64)
        weights[answer] = 1
        drawn = Sampler(weights).draw_others(torch.full((50,), answer), 20, seeded())
        assert (drawn != answer).all()
        assert drawn.min() >= RESERVED

"""Where shared negatives come from: the wanted distribution, no reserved id, draws that a seed repeats."""

import pytest
import torch
from scipy.stats import chisquare

from userrep.errors import ConfigError
from userrep.objectives.samplers import Sampler
from userrep.sequences.vocab import RESERVED

COUNTS = torch.tensor([999, 999, 1, 2, 5, 0, 20, 50, 8])
DRAWS = 200_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_draws_follow_the_counts_to_the_power(power: float) -> None:
    drawn = torch.bincount(Sampler(COUNTS, power).draw(DRAWS, seeded()), minlength=len(COUNTS))
    weights = COUNTS[RESERVED:].clamp_min(1).double() ** power
    assert chisquare(drawn[RESERVED:], DRAWS * weights / weights.sum()).pvalue > 1e-3


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_reserved_ids_are_never_drawn(power: float) -> None:
    drawn = Sampler(COUNTS, power).draw(DRAWS, seeded())
    assert drawn.min() >= RESERVED
    assert drawn.max() < len(COUNTS)


def test_an_item_without_events_can_be_drawn() -> None:
    assert (Sampler(COUNTS, 1.0).draw(DRAWS, seeded()) == 5).any()


def test_the_edges_of_the_unit_interval_give_items(monkeypatch: pytest.MonkeyPatch) -> None:
    for edge in (0.0, 1.0 - 2.0**-53):
        monkeypatch.setattr(
            torch, "rand", lambda count, edge=edge, **_: torch.full((count,), edge, dtype=torch.float64)
        )
        assert RESERVED <= Sampler(COUNTS, 1.0).draw(1, seeded()).item() < len(COUNTS)


def test_expected_counts_are_those_of_the_draws() -> None:
    sampler = Sampler(COUNTS, 1.0)
    expected = sampler.log_expected(DRAWS).exp()
    drawn = torch.bincount(sampler.draw(DRAWS, seeded()), minlength=len(COUNTS))
    torch.testing.assert_close(expected[RESERVED:], drawn[RESERVED:].float(), rtol=0.1, atol=0)
    assert expected[RESERVED:].sum().item() == pytest.approx(DRAWS, rel=1e-5)


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    sampler = Sampler(COUNTS, 1.0)
    assert torch.equal(sampler.draw(50, seeded(3)), sampler.draw(50, seeded(3)))
    assert not torch.equal(sampler.draw(50, seeded(3)), sampler.draw(50, seeded(4)))


def test_a_negative_power_is_refused() -> None:
    with pytest.raises(ConfigError, match="power is -1"):
        Sampler(COUNTS, -1)

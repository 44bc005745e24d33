"""Dropout on eight random bits an element: its share, its mean, its silence in evaluation."""

import pytest
import torch

from userrep.errors import ConfigError
from userrep.models.dropout import LEVELS, Dropout


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.9])
def test_the_share_is_dropped_to_the_nearest_level_and_the_mean_stays(share: float) -> None:
    torch.manual_seed(0)
    dropout, ones = Dropout(share), torch.ones(400_001)
    dropped = dropout(ones)
    rounded = round(share * LEVELS) / LEVELS
    assert (dropped == 0).float().mean().item() == pytest.approx(rounded, abs=0.004)
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / (1 - rounded)])


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5), (2, 3, 5)])
def test_any_shape_goes_and_elements_drop_independently(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    dropout = Dropout(0.5)
    kept = torch.stack([dropout(torch.ones(shape)) > 0 for _ in range(2000)]).flatten(1).float()
    assert kept.mean(0).sub(0.5).abs().max() < 0.06
    if kept.shape[1] > 1:
        assert torch.corrcoef(kept.t()).fill_diagonal_(0).abs().max() < 0.1


def test_evaluation_and_a_share_of_zero_draw_nothing() -> None:
    states, before = torch.randn(3, 4), torch.get_rng_state()
    assert Dropout(0.5).eval()(states) is states
    assert Dropout(0.0)(states) is states
    assert torch.equal(torch.get_rng_state(), before)


def test_gradients_pass_where_the_element_was_kept() -> None:
    states = torch.ones(64, requires_grad=True)
    dropped = Dropout(0.5)(states)
    dropped.sum().backward()
    assert torch.equal(states.grad, dropped.detach())


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="dropout is"):
        Dropout(share)

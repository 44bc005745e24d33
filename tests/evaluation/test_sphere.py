"""How user vectors lie, by numbers that are known or that loops compute."""

import math

import pytest
import torch
from two_views import vectors

from userrep.evaluation.spectrum import effective_rank, variance_share
from userrep.evaluation.sphere import alignment, spread, uniformity


def test_effective_rank_is_that_of_known_spectra() -> None:
    axes = torch.cat([torch.eye(4), -torch.eye(4)])
    assert effective_rank(axes) == pytest.approx(4)
    assert effective_rank(axes * torch.tensor([1.0, 1.0, 0.0, 0.0]) + 7) == pytest.approx(2)
    assert effective_rank(torch.ones(5, 3)) == 0
    assert variance_share(axes) == pytest.approx(1)
    assert variance_share(axes + 1) == pytest.approx(1 / (4 + 1))  # squared lengths: 4 of the mean, 1 about it
    assert variance_share(torch.ones(5, 3)) == pytest.approx(0)


def test_spread_alignment_and_uniformity_equal_loops() -> None:
    left, right = (view.float() for view in vectors(7, 4))
    unit = [[row / row.norm() for row in view] for view in (left, right)]
    channels = torch.stack(unit[0]).T
    deviations = [float((channel - channel.mean()).square().mean().sqrt()) for channel in channels]
    assert spread(left) == pytest.approx(sum(deviations) / 4 * math.sqrt(4), rel=1e-5)
    near = [float((one - two).square().sum()) for one, two in zip(*unit, strict=True)]
    assert alignment(left, right) == pytest.approx(sum(near) / 7, rel=1e-5)
    pairs = [float((-2 * (unit[0][a] - unit[0][b]).square().sum()).exp()) for a in range(7) for b in range(a)]
    assert uniformity(left) == pytest.approx(math.log(sum(pairs) / len(pairs)), rel=1e-5)

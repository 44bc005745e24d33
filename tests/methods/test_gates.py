"""Gates against the formulas of the paper's code (spec B10, 5, 7, 8, 10 and 15)."""

import pytest
import torch
from torch import Tensor

from userrep.methods.gates import Gates, Hard, Sampled, Soft, Tempered

DRAWS = 200_000


def logits(*margins: float) -> Tensor:
    """Return logits `(A, 2)` whose tuned side is ahead by the margins."""
    ahead = torch.tensor(margins)
    return torch.stack([ahead + 0.3, torch.full_like(ahead, 0.3)], dim=-1)


def frequency(gates: Gates, of: Tensor) -> Tensor:
    torch.manual_seed(0)
    return gates.shares(of.expand(DRAWS, *of.shape), training=True).mean(0)


def three_errors(chance: Tensor) -> Tensor:
    return 3 * (chance * (1 - chance) / DRAWS).sqrt()


@pytest.mark.parametrize("kind", [Hard, Sampled])
@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
def test_a_side_is_drawn_with_its_chance_at_any_temperature(kind: type[Gates], temperature: float) -> None:
    of = logits(-2.0, -0.5, 0.0, 1.0)
    chance = torch.sigmoid(of[:, 0] - of[:, 1])
    gates = kind(temperature, False, False)
    torch.testing.assert_close(gates.chances(of), chance)
    assert ((frequency(gates, of) - chance).abs() < three_errors(chance)).all()


def test_the_published_squash_keeps_every_chance_between_bounds() -> None:
    of = torch.tensor([[50.0, -50.0], [-50.0, 50.0], [1.0, 1.0]])
    chance = Hard(1.0, True, False).chances(of)
    torch.testing.assert_close(chance, torch.tensor([0.731059, 0.268941, 0.5]))
    assert ((frequency(Hard(1.0, True, False), of) - chance).abs() < three_errors(chance)).all()


def test_one_logistic_draw_is_the_difference_of_two_gumbel_draws() -> None:
    of = logits(0.7)
    torch.manual_seed(1)
    gumbel = -torch.log(-torch.log(torch.rand(DRAWS, 1, 2)))
    relaxed = torch.softmax((of + gumbel) / 2.0, dim=-1)[..., 0]
    torch.manual_seed(2)
    noise = torch.logit(torch.rand(DRAWS, 1))
    ours = torch.sigmoid((0.7 + noise) / 2.0)
    for level in (0.1, 0.25, 0.5, 0.75, 0.9):
        assert abs(float(relaxed.quantile(level) - ours.quantile(level))) < 0.01


def test_drawing_again_from_the_relaxed_draw_is_almost_a_coin_at_the_published_temperature() -> None:
    of = logits(-1.0, 0.0, 1.0)  # spec B4 d: .476, .500, .525
    found = frequency(Tempered(10.0, False, False), of)
    assert ((found - torch.tensor([0.476, 0.5, 0.525])).abs() < 0.005).all()


@pytest.mark.parametrize("kind", [Hard, Sampled, Tempered])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_firm_shares_are_exactly_zero_or_one_in_single_precision(kind: type[Gates], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    of = torch.randn(1_000_000, 2).to(dtype)
    shares = kind(5.0, False, False).shares(of, training=True)
    assert shares.dtype == torch.float32
    assert ((shares == 0) | (shares == 1)).all()


def test_the_gradient_is_that_of_the_relaxed_draw() -> None:
    of = logits(0.4, -1.0).requires_grad_()
    torch.manual_seed(3)
    Hard(2.0, False, False).shares(of, training=True).sum().backward()
    torch.manual_seed(3)
    noise = torch.logit(torch.rand(2).clamp(1e-7, 1 - 1e-7))
    relaxed = torch.sigmoid((of.detach()[:, 0] - of.detach()[:, 1] + noise) / 2.0)
    slope = relaxed * (1 - relaxed) / 2.0
    torch.testing.assert_close(of.grad, torch.stack([slope, -slope], dim=-1))


def test_no_gradient_passes_a_sampled_side() -> None:
    assert not Sampled(1.0, False, False).shares(logits(0.4).requires_grad_(), training=True).requires_grad


def test_a_soft_share_is_a_sigmoid_of_the_first_channel_alone() -> None:
    of = torch.tensor([[0.2, 9.0], [-1.0, 3.0]])
    for training in (True, False):
        assert torch.equal(Soft(1.0, False, False).shares(of, training), torch.sigmoid(of[:, 0]))


@pytest.mark.parametrize("kind", [Hard, Sampled, Tempered, Soft])
def test_serving_takes_the_likelier_side_and_never_draws(kind: type[Gates]) -> None:
    of, gates = logits(-0.1, 0.0, 0.1), kind(1.0, False, False)
    state = torch.get_rng_state()
    served = gates.shares(of, training=False)
    assert torch.equal(served, gates.shares(of, training=False))
    assert torch.equal(torch.get_rng_state(), state)
    if gates.firm:
        assert served.tolist() == [0, 0, 1]


def test_the_published_code_draws_when_serving_too_here_with_a_fixed_seed() -> None:
    of, gates = logits(0.1).expand(2000, 1, 2), Hard(10.0, True, True)
    served = gates.shares(of, training=False)
    assert torch.equal(served, gates.shares(of, training=False))
    assert 0.4 < float(served.mean()) < 0.65


def test_exchanged_channels_are_the_other_side() -> None:
    of = logits(-2.0, 0.5, 1.0)
    gates = Hard(1.0, False, False)
    torch.testing.assert_close(gates.chances(of.flip(-1)), 1 - gates.chances(of))
    assert torch.equal(gates.shares(of.flip(-1), training=False), 1 - gates.shares(of, training=False))

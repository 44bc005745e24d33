"""The item losses against loops in fp64, one state and one negative at a time: values, gradients, what is drawn."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from userrep.errors import ConfigError, DataError
from userrep.objectives import pairs, softmax
from userrep.objectives.item_loss import LOSSES, ItemLoss, item_loss
from userrep.sequences.vocab import RESERVED

WIDTH, VOCAB = 5, 17
COUNTS = np.arange(VOCAB)[::-1].copy()
every_loss = pytest.mark.parametrize("name", [name for name in LOSSES if name != "auto"])  # which becomes one of them
PAIRWISE = ["bpr", "logistic", "gbce"]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few rows make several chunks."""
    monkeypatch.setattr(pairs, "SPAN", 4 * WIDTH)
    monkeypatch.setattr(softmax, "CHUNK", 4)
    monkeypatch.setattr(softmax, "_SCRATCH", {})


def ready(name: str, negatives: int = 3, sampler: str = "uniform", **own: float) -> ItemLoss:
    loss = item_loss(name, negatives, sampler, **own)
    loss.prepare(COUNTS)
    return loss


def draw(count: int, answers: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    shape = (count, answers) if answers else (count,)
    states = torch.randn(count, WIDTH, generator=generator, dtype=torch.float64).requires_grad_()
    table = torch.randn(VOCAB, WIDTH, generator=generator, dtype=torch.float64).requires_grad_()
    bias = torch.randn(VOCAB, generator=generator, dtype=torch.float64).requires_grad_()
    return states, table, bias, torch.randint(RESERVED, VOCAB, shape, generator=generator)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def naive(name: str, answer: Tensor, others: list[Tensor], t: float) -> Tensor:
    """State one published formula for one state, from its scores."""
    k = len(others)
    rate = k / (VOCAB - RESERVED - 1)
    beta = rate * (t * (1 - 1 / rate) + 1 / rate)
    if name == "bpr":
        return -sum(torch.log(1 / (1 + torch.exp(other - answer))) for other in others) / k  # type: ignore[return-value]
    positive = torch.log(1 / (1 + torch.exp(-answer)))
    negative = sum(torch.log(1 - 1 / (1 + torch.exp(-other))) for other in others)
    return -(positive + negative / k) if name == "logistic" else -(beta * positive + negative) / (k + 1)


@pytest.mark.parametrize("name", PAIRWISE)
@pytest.mark.parametrize("negatives", [1, 4])
@pytest.mark.parametrize("with_bias", [False, True])
def test_pairwise_losses_equal_the_published_formulas_in_loss_and_gradients(
    name: str, negatives: int, with_bias: bool
) -> None:
    states, table, bias, targets = draw(11)
    loss = ready(name, negatives, gbce_t=0.6)
    inputs = (states, table, bias) if with_bias else (states, table)
    ours = loss(states, table, bias if with_bias else None, targets, seeded())
    assert loss.sampler is not None
    drawn = loss.sampler.draw_others(targets, negatives, seeded())
    rows = []
    for state, target, own in zip(states, targets.tolist(), drawn.tolist(), strict=True):
        scores = [table[item] @ state + (bias[item] if with_bias else 0) for item in [target, *own]]
        rows.append(naive(name, scores[0], scores[1:], 0.6))
    plain = torch.stack(rows).mean()
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(torch.autograd.grad(ours * 3, inputs), torch.autograd.grad(plain * 3, inputs), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_the_calibration_of_gbce_is_that_of_its_published_code() -> None:
    """Their code transforms the answer's logit, then takes the mean binary cross-entropy of 1 + k logits."""
    states, table, _, targets = draw(9)
    loss = ready("gbce", 4, gbce_t=0.75)
    assert loss.sampler is not None
    drawn = loss.sampler.draw_others(targets, 4, seeded())
    logits = (table[torch.cat([targets[:, None], drawn], dim=1)] @ states.unsqueeze(2)).squeeze(2)
    alpha = 4 / (VOCAB - RESERVED - 1)
    beta = alpha * ((1 - 1 / alpha) * 0.75 + 1 / alpha)
    adjusted = torch.log(1 / (torch.sigmoid(logits[:, :1]) ** -beta - 1))
    labels = F.one_hot(torch.zeros(9, dtype=torch.long), 5).double()
    wanted = F.binary_cross_entropy_with_logits(torch.cat([adjusted, logits[:, 1:]], dim=1), labels)
    torch.testing.assert_close(loss(states, table, None, targets, seeded()), wanted)


@every_loss
def test_several_answers_of_a_state_weigh_as_much_as_the_state_given_once_for_each(name: str) -> None:
    states, table, _, targets = draw(7, answers=3)
    loss = ready(name)
    together = loss(states, table, None, targets, seeded())
    apart = loss(states.repeat_interleave(3, dim=0), table, None, targets.flatten(), seeded())
    torch.testing.assert_close(together, apart, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(
        torch.autograd.grad(together, (states, table)), torch.autograd.grad(apart, (states, table)), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@every_loss
def test_reserved_rows_of_the_table_take_no_part(name: str) -> None:
    states, table, _, targets = draw(30)
    loss = ready(name, 8, table_l2=0.1)(states, table, None, targets, seeded())
    gradient = torch.autograd.grad(loss, table)[0]
    assert gradient[:RESERVED].abs().sum() == 0
    assert (gradient[RESERVED:].abs().sum(dim=1) > 0).all()


@every_loss
def test_the_penalty_is_half_the_squared_norm_of_all_items(name: str) -> None:
    states, table, _, targets = draw(6)
    bare, held = (ready(name, table_l2=weight)(states, table, None, targets, seeded()) for weight in (0.0, 0.02))
    wanted = sum(0.02 * 0.5 * value**2 for value in table[RESERVED:].flatten().tolist())
    assert (held - bare).item() == pytest.approx(wanted)


@every_loss
def test_large_scores_stay_finite(name: str) -> None:
    states, table, _, targets = draw(6)
    loss = ready(name)((states * 1e3).float(), (table * 1e3).float(), None, targets, seeded())
    assert torch.isfinite(loss)
    assert torch.isfinite(torch.autograd.grad(loss, table)[0]).all()


@every_loss
def test_no_state_makes_a_loss_of_zero(name: str) -> None:
    states, table, _, targets = draw(0)
    loss = ready(name)(states, table, None, targets, seeded())
    assert loss.item() == 0
    assert torch.autograd.grad(loss, table)[0].abs().sum() == 0


@pytest.mark.parametrize("name", PAIRWISE)
def test_a_loss_taken_without_gradients_does_not_spoil_the_next_step(name: str) -> None:
    states, table, _, targets = draw(6)
    with torch.inference_mode():
        before = ready(name)(states, table, None, targets, seeded()).item()
    after = ready(name)(states, table, None, targets, seeded())
    after.backward()
    assert after.item() == before


def test_more_negatives_estimate_the_same_bpr_and_logistic_loss() -> None:
    states, table, _, targets = draw(400)
    for name in ("bpr", "logistic"):
        few, many = (ready(name, count)(states, table, None, targets, seeded()).item() for count in (1, 60))
        assert few == pytest.approx(many, rel=0.1)


def test_a_loss_over_one_item_is_refused() -> None:
    loss = item_loss("bpr", 1, "uniform")
    loss.prepare(np.array([0, 0, 5]))
    states = torch.ones(1, WIDTH)
    with pytest.raises(DataError, match="one item"):
        loss(states, torch.ones(3, WIDTH), None, torch.tensor([2]), seeded())


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": "half"}, {"sampler": "popular"}, {"negatives": 0}, {"rho": 0.0}, {"rho": math.nan}, {"gbce_t": 1.1},
        {"gbce_t": -0.1}, {"table_l2": -1.0}, {"table_l2": math.nan},
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused_with_those_that_can(wrong: dict) -> None:
    with pytest.raises(ConfigError) as caught:
        item_loss(**{"loss": "gbce", "negatives": 3, "sampler": "uniform"} | wrong)
    assert caught.value.hint


@pytest.mark.parametrize(("items", "bias", "chosen"), [(49_999, False, "full"), (50_000, False, "sampled"),
                                                       (50_000, True, "full")])  # fmt: skip
def test_auto_is_exact_until_there_are_many_items_and_where_a_bias_must_train(
    items: int, bias: bool, chosen: str
) -> None:
    settled = item_loss("auto", 8, "uniform").settle(items, bias)
    assert type(settled) is LOSSES[chosen]
    assert bool(settled.told) is (chosen == "sampled")


def test_a_loss_that_was_chosen_by_name_stays() -> None:
    loss = item_loss("full", 8, "uniform")
    assert loss.settle(10**6, False) is loss

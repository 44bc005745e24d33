"""The chunked softmaxes against plain cross-entropy: loss, gradients, hits, the limit of many negatives."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from userrep.objectives import softmax
from userrep.objectives.samplers import Sampler, by_count
from userrep.objectives.softmax import full_softmax, sampled_softmax

WIDTH, VOCAB, CHUNK = 6, 23, 8


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few rows make several chunks, and let no test see another's scratch memory."""
    monkeypatch.setattr(softmax, "CHUNK", CHUNK)
    monkeypatch.setattr(softmax, "_SCRATCH", {})


def draw(count: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    states = torch.randn(count, WIDTH, generator=generator, dtype=dtype).requires_grad_()
    table = torch.randn(VOCAB, WIDTH, generator=generator, dtype=dtype).requires_grad_()
    bias = torch.randn(VOCAB, generator=generator, dtype=dtype).requires_grad_()
    return states, table, bias, torch.randint(VOCAB, (count,), generator=generator)


def naive_sampled(states: Tensor, table: Tensor, targets: Tensor, sampled: Tensor, log_expected: Tensor) -> Tensor:
    """One row at a time: the answer and every negative that is not the answer, each with its correction."""
    losses = []
    for state, target in zip(states, targets.tolist(), strict=True):
        answer = table[target] @ state
        others = [table[item] @ state - log_expected[item] for item in sampled.tolist() if item != target]
        losses.append(torch.logsumexp(torch.stack([answer, *others]), dim=0) - answer)
    return torch.stack(losses).mean()


@pytest.mark.parametrize("count", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
@pytest.mark.parametrize("with_bias", [False, True])
def test_full_softmax_equals_cross_entropy_in_loss_and_gradients(count: int, with_bias: bool) -> None:
    states, table, bias, targets = draw(count)
    inputs = (states, table, bias) if with_bias else (states, table)
    chunked = full_softmax(states, table, bias if with_bias else None, targets)
    plain = F.cross_entropy(states @ table.t() + (bias if with_bias else 0), targets)
    torch.testing.assert_close(chunked, plain, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(
        torch.autograd.grad(chunked * 3, inputs), torch.autograd.grad(plain * 3, inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_full_softmax_stays_finite_for_large_logits() -> None:
    states, table, _, targets = draw(20, torch.float32)
    chunked = full_softmax(states * 300, table * 300, None, targets)
    torch.testing.assert_close(chunked, F.cross_entropy(states * 300 @ (table * 300).t(), targets))


def test_full_softmax_of_no_position_is_zero_with_zero_gradients() -> None:
    states, table, _, targets = draw(0)
    loss = full_softmax(states, table, None, targets)
    assert loss.item() == 0
    assert torch.autograd.grad(loss, table)[0].abs().sum() == 0


@pytest.mark.parametrize("count", [1, 4 * CHUNK, 4 * CHUNK + 1, 10 * CHUNK])
@pytest.mark.parametrize("negatives", [1, 7, 60])
def test_sampled_softmax_equals_a_loop_over_rows_in_loss_and_gradients(count: int, negatives: int) -> None:
    states, table, _, targets = draw(count)
    sampled = torch.randint(VOCAB, (negatives,), generator=torch.Generator().manual_seed(negatives))
    log_expected = torch.linspace(-2, 1, VOCAB, dtype=torch.float64)
    ours = sampled_softmax(states, table, None, targets, sampled, log_expected)
    plain = naive_sampled(states, table, targets, sampled, log_expected)
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(
        torch.autograd.grad(ours * 3, (states, table)),
        torch.autograd.grad(plain * 3, (states, table)),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_sampled_softmax_of_nothing_but_the_answer_is_zero() -> None:
    states, table, _, _ = draw(5)
    targets, sampled = torch.full((5,), 4), torch.full((3,), 4)
    loss = sampled_softmax(states, table, None, targets, sampled, torch.zeros(VOCAB, dtype=torch.float64))
    assert loss.item() == 0
    assert all(grad.abs().sum() == 0 for grad in torch.autograd.grad(loss, (states, table)))


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_sampled_softmax_tends_to_the_full_one_as_negatives_grow(power: float) -> None:
    states, table, _, targets = draw(30)
    targets = targets.clamp_min(2)
    sampler = Sampler(by_count(torch.arange(VOCAB) + 1, power))
    full = full_softmax(states, table[2:], None, targets - 2)
    errors = []
    for negatives in (10, 1_000, 100_000):
        sampled = sampler.draw(negatives, torch.Generator().manual_seed(0))
        expected = sampler.log_expected(negatives).double()
        errors.append(abs((sampled_softmax(states, table, None, targets, sampled, expected) - full).item()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.01 * full.item()


@pytest.mark.parametrize("kind", ["full", "sampled"])
def test_a_loss_taken_without_gradients_does_not_spoil_the_next_step(kind: str) -> None:
    states, table, _, targets = draw(12)
    sampled, expected = torch.arange(VOCAB), torch.zeros(VOCAB, dtype=torch.float64)

    def loss() -> Tensor:
        if kind == "full":
            return full_softmax(states, table, None, targets)
        return sampled_softmax(states, table, None, targets, sampled, expected)

    with torch.inference_mode():
        before = loss().item()
    after = loss()
    after.backward()
    assert after.item() == before


@pytest.mark.parametrize("kind", ["full", "sampled"])
def test_two_losses_before_one_backward_do_not_share_gradients(kind: str) -> None:
    states, table, _, targets = draw(12)
    sampled, expected = torch.arange(VOCAB), torch.zeros(VOCAB, dtype=torch.float64)

    def loss(wanted: Tensor) -> Tensor:
        if kind == "full":
            return full_softmax(states, table, None, wanted)
        return sampled_softmax(states, table, None, wanted, sampled, expected)

    other = (targets + 1) % VOCAB
    apart = torch.autograd.grad(loss(targets), table)[0] + torch.autograd.grad(loss(other), table)[0]
    together = torch.autograd.grad(loss(targets) + loss(other), table)[0]
    torch.testing.assert_close(together, apart, rtol=1e-12, atol=1e-14)


def test_sampled_softmax_refuses_a_trainable_bias() -> None:
    states, table, bias, targets = draw(3)
    with pytest.raises(ValueError, match="bias"):
        sampled_softmax(states, table, bias, targets, targets, torch.zeros(VOCAB, dtype=torch.float64))

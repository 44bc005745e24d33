"""Attention against loops over steps, its positions, and the networks beside it."""

import pytest
import torch
from torch import Tensor

from userrep.errors import ConfigError
from userrep.models.attention import SelfAttention
from userrep.models.feed_forward import FeedForward, SwiGlu
from userrep.models.positions import LearnedPositions
from userrep.models.rotary import rotate

WIDTH, HEADS, STEPS = 8, 2, 6


def inputs() -> tuple[Tensor, Tensor]:
    """Make double states with 0, 2 and all steps of padding."""
    torch.manual_seed(0)
    keep = torch.ones(3, STEPS, 1, dtype=torch.float64)
    keep[1, :2] = 0
    keep[2] = 0
    return torch.randn(3, STEPS, WIDTH, dtype=torch.float64) * keep, keep


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_attention_equals_a_loop_over_users_heads_and_steps(causal: bool, bias: bool) -> None:
    states, keep = inputs()
    attention = SelfAttention(WIDTH, HEADS, causal, bias).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    found = attention(states, keep)
    query, key, value = attention.qkv(states).chunk(3, dim=-1)
    share = WIDTH // HEADS
    for user in range(2):
        for step in (s for s in range(STEPS) if keep[user, s]):
            seen = [s for s in range(STEPS) if keep[user, s] and (s <= step or not causal)]
            mixed = []
            for head in range(HEADS):
                part = slice(head * share, (head + 1) * share)
                scores = torch.stack([query[user, step, part] @ key[user, s, part] / share**0.5 for s in seen])
                mixed.append(torch.softmax(scores, 0) @ value[user, seen, part])
            torch.testing.assert_close(found[user, step], attention.out(torch.cat(mixed)))
    assert (found[keep.squeeze(-1) == 0] == 0).all()


@pytest.mark.parametrize("causal", [True, False])
def test_an_empty_history_gives_no_nan_and_no_nan_gradient(causal: bool) -> None:
    attention = SelfAttention(WIDTH, HEADS, causal, rotary=True)
    states = torch.randn(2, STEPS, WIDTH, requires_grad=True)
    attention(states, torch.zeros(2, STEPS, 1)).sum().backward()
    assert torch.equal(states.grad, torch.zeros_like(states))
    assert all(torch.isfinite(parameter.grad).all() for parameter in attention.parameters())


@pytest.mark.parametrize(("width", "heads", "rotary"), [(8, 3, False), (6, 2, True)])
def test_heads_that_do_not_fit_the_width_are_refused(width: int, heads: int, rotary: bool) -> None:
    with pytest.raises(ConfigError, match=f"width {width} does not give each of {heads} heads"):
        SelfAttention(width, heads, causal=True, rotary=rotary)


def test_rotated_products_know_the_distance_alone() -> None:
    torch.manual_seed(1)
    query, key = torch.randn(2, 1, 1, 1, WIDTH, dtype=torch.float64).expand(2, 1, 1, STEPS, WIDTH)
    products = (rotate(query) @ rotate(key).transpose(-1, -2)).squeeze()  # (T, T)
    for distance in range(-STEPS + 1, STEPS):
        along = products.diagonal(distance)
        torch.testing.assert_close(along, along[:1].expand_as(along), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(products.diagonal(), (query @ key.transpose(-1, -2)).squeeze().diagonal())
    assert products[0].unique().numel() == STEPS


def test_rotation_turns_each_pair_by_its_own_angle() -> None:
    ones = torch.ones(1, 1, 3, 4, dtype=torch.float64)
    found = rotate(ones)[0, 0]
    for step in range(3):
        for pair, rate in enumerate((1.0, 0.01)):
            angle = torch.tensor((2 - step) * rate, dtype=torch.float64)
            wanted = torch.stack([angle.cos() - angle.sin(), angle.cos() + angle.sin()])
            torch.testing.assert_close(found[step, [pair, pair + 2]], wanted, rtol=1e-6, atol=1e-6)


def test_positions_count_from_the_newest_item() -> None:
    positions = LearnedPositions(2, 4)
    with torch.no_grad():
        positions.weight.copy_(torch.arange(4.0)[:, None].expand(4, 2))
    states, keep = torch.zeros(1, 6, 2), torch.tensor([0.0, 0, 0, 1, 1, 1]).view(1, 6, 1)
    assert positions(states, keep)[0, :, 0].tolist() == [0, 0, 0, 2, 1, 0]


def test_a_history_beyond_the_last_position_is_refused_with_both_lengths() -> None:
    positions = LearnedPositions(2, 4)
    states, keep = torch.zeros(2, 6, 2), torch.ones(2, 6, 1)
    keep[0, :5] = 0
    keep[1, :1] = 0
    with pytest.raises(ConfigError, match="a history has 5 items, the model has positions for 4") as caught:
        positions(states, keep)
    assert "protocol.history" in caught.value.hint


@pytest.mark.parametrize("kind", ["plain", "gated"])
def test_feed_forward_networks_map_each_state_by_itself(kind: str) -> None:
    states, keep = inputs()
    network = FeedForward(WIDTH, 5, torch.nn.GELU()) if kind == "plain" else SwiGlu(WIDTH, 5)
    found = network.double()(states, keep)
    for user in range(3):
        for step in range(STEPS):
            wide = network.expand(states[user, step])
            if kind == "plain":
                wide = wide * 0.5 * (1 + torch.erf(wide / 2**0.5))
            else:
                gate, value = wide[:5], wide[5:]
                wide = gate / (1 + torch.exp(-gate)) * value
            torch.testing.assert_close(found[user, step], network.contract(wide) * keep[user, step])


def test_dropout_hides_attention_weights_in_training_and_none_in_evaluation() -> None:
    states, keep = inputs()
    attention = SelfAttention(WIDTH, HEADS, causal=True, dropout=0.5).double()
    plain = SelfAttention(WIDTH, HEADS, causal=True).double()
    plain.load_state_dict(attention.state_dict())
    first, again = (attention(states, keep) for _ in range(2))
    assert not torch.equal(first, again)
    torch.testing.assert_close(attention.eval()(states, keep), plain(states, keep))

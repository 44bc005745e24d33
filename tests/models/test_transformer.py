"""The modern Transformer against its equations, and its counts."""

import pytest
import torch
from torch import Tensor

from userrep.errors import ConfigError
from userrep.models.rotary import rotate
from userrep.models.transformer import Transformer
from userrep.training.weights import count

VOCAB, WIDTH = 30, 8


def rms(states: Tensor, weight: Tensor) -> Tensor:
    return states / (states.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight


def test_states_equal_the_equations() -> None:
    torch.manual_seed(0)
    encoder = Transformer(VOCAB, WIDTH, layers=2, heads=2, hidden=5).double().eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter)
    items = torch.randint(2, VOCAB, (3, 6))
    states = encoder.stem.table.weight[items]
    later = torch.ones(6, 6, dtype=torch.bool).triu(1)
    for block in encoder.blocks:
        own = dict(block.named_parameters())
        normed = rms(states, own["attention.norm.weight"]) @ own["attention.op.qkv.weight"].t()
        query, key, value = (part.view(3, 6, 2, 4).transpose(1, 2) for part in normed.chunk(3, -1))
        scores = (rotate(query) @ rotate(key).transpose(-1, -2) / 2).masked_fill(later, float("-inf"))
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(3, 6, WIDTH)
        states = states + mixed @ own["attention.op.out.weight"].t()
        wide = rms(states, own["feed_forward.norm.weight"]) @ own["feed_forward.op.expand.weight"].t()
        gated = wide[..., :5] * wide[..., :5].sigmoid() * wide[..., 5:]
        states = states + gated @ own["feed_forward.op.contract.weight"].t()
        assert len(own) == 6
    torch.testing.assert_close(encoder(items), rms(states, encoder.final.norm.weight))


@pytest.mark.parametrize(("width", "hidden", "layers"), [(8, 5, 2), (64, None, 2), (66, None, 1), (128, None, 1)])
def test_parameters_count_as_the_formula(width: int, hidden: int | None, layers: int) -> None:
    encoder = Transformer(VOCAB, width, layers, 1, hidden)
    inner = hidden or {64: 176, 66: 176, 128: 344}[width]
    block = 4 * width**2 + 3 * width * inner + 2 * width
    assert {count(part) for part in encoder.blocks} == {block}
    assert count(encoder) == VOCAB * width + layers * block + width
    if width == 64:
        assert block == 50_304


def test_a_history_may_be_of_any_length() -> None:
    assert torch.isfinite(Transformer(VOCAB, WIDTH).eval()(torch.randint(2, VOCAB, (1, 500)))).all()


@pytest.mark.parametrize("wrong", [{"width": 0}, {"layers": 0}, {"heads": 0}, {"hidden": 0}])
def test_a_shape_that_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="Transformer has"):
        Transformer(VOCAB, **wrong)

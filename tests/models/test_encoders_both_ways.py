"""Encoders that read both ways: their task tokens, their convolutions, their counts."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from userrep.errors import ConfigError
from userrep.methods.surgery import set_readout
from userrep.models.bert4rec import Bert4Rec
from userrep.models.encoder import Encoder
from userrep.models.grec import GRec
from userrep.models.nextitnet import DilatedConv, NextItNet
from userrep.training.weights import count

VOCAB, WIDTH = 30, 8


def small(model: str) -> Encoder:
    torch.manual_seed(0)
    encoder = Bert4Rec(VOCAB, WIDTH, max_length=6) if model == "bert4rec" else GRec(VOCAB, WIDTH, [1, 2])
    set_readout(encoder, "token+mean+last")
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return encoder.double().eval()


def by_hand(encoder: Encoder, items: Tensor) -> Tensor:
    """Read the user vector of one history without padding, `(n,)` ids: token, items, token."""
    inside = encoder.stem(items[None], torch.ones(1, len(items), 1, dtype=torch.float64))
    front = encoder.token.view(1, 1, -1)
    if encoder.positions is not None:
        inside = inside + encoder.positions.weight[: len(items)].flip(0)
        front = front + encoder.positions.weight[len(items)]
    states = torch.cat([front, inside, encoder.token.view(1, 1, -1)], dim=1)
    keep = torch.ones(1, states.shape[1], 1, dtype=torch.float64)
    for block in encoder.blocks:
        states = block(states, keep)
    states = encoder.final(states, keep)[0]
    return torch.cat([states[0] + states[-1], states[1:-1].mean(0), states[-2]])


@pytest.mark.parametrize("model", ["bert4rec", "grec"])
def test_a_token_stands_at_each_end_of_the_real_items_and_both_are_read(model: str) -> None:
    encoder = small(model)
    items = torch.randint(2, VOCAB, (3, 6))
    for row in range(3):
        items[row, : 2 * row] = 0  # 6, 4, 2 items
    for row, user in enumerate(encoder.user(items)):
        torch.testing.assert_close(user, by_hand(encoder, items[row, 2 * row :]))


@pytest.mark.parametrize("model", ["bert4rec", "grec"])
def test_both_tokens_count_and_their_states_differ(model: str) -> None:
    encoder, seen = small(model), []
    encoder.final.register_forward_hook(lambda module, inputs, states: seen.append(states))
    encoder.user(torch.randint(2, VOCAB, (1, 6)))
    assert not torch.allclose(seen[0][0, 0], seen[0][0, -1])


@pytest.mark.parametrize("model", ["bert4rec", "grec"])
def test_a_history_of_nothing_is_two_tokens_side_by_side(model: str) -> None:
    encoder = small(model)
    token, mean, last = encoder.user(torch.zeros(1, 4, dtype=torch.long))[0].split(WIDTH)
    assert not mean.any()
    assert not last.any()
    longer = encoder.user(torch.zeros(1, 6, dtype=torch.long))[0, :WIDTH]
    torch.testing.assert_close(token, longer)
    assert token.abs().max() > 0


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("rate", [1, 2, 5])
def test_a_centred_convolution_equals_torchs_own_with_same_padding(kernel_size: int, rate: int) -> None:
    conv = DilatedConv(5, kernel_size, rate, causal=False).double()
    torch.nn.init.normal_(conv.weight)
    torch.nn.init.normal_(conv.bias)
    states = torch.randn(2, 9, 5, dtype=torch.float64)
    wanted = F.conv1d(states.transpose(1, 2), conv.weight, conv.bias, padding="same", dilation=rate)
    torch.testing.assert_close(conv(states, torch.ones(2, 9, 1)), wanted.transpose(1, 2))


@pytest.mark.parametrize("dilations", [[1], [1, 4], [2, 1]])
def test_a_centred_stack_reaches_as_far_ahead_as_back(dilations: list[int]) -> None:
    reach = sum(3 * rate for rate in dilations)  # each block at `rate` and twice it
    torch.manual_seed(0)
    encoder = GRec(VOCAB, WIDTH, dilations).double().eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    items = torch.randint(2, VOCAB, (1, 2 * reach + 3))
    middle = reach + 1
    before = encoder(items)[0, middle]
    for step in range(items.shape[1]):
        changed = items.clone()
        changed[0, step] = (changed[0, step] + 5) % (VOCAB - 2) + 2
        assert torch.equal(encoder(changed)[0, middle], before) is (abs(step - middle) > reach)


def test_grec_has_the_weights_of_nextitnet_by_name_and_shape() -> None:
    shapes = [{n: p.shape for n, p in kind(VOCAB, WIDTH, [1, 4]).named_parameters()} for kind in (GRec, NextItNet)]
    assert shapes[0] == shapes[1]
    with pytest.raises(ConfigError, match="GRec has width=0"):
        GRec(VOCAB, 0)


@pytest.mark.parametrize(("width", "hidden", "layers"), [(8, None, 2), (16, 24, 1), (64, None, 2)])
@pytest.mark.parametrize("norm_first", [True, False])
def test_bert4rec_counts_as_the_formula(width: int, hidden: int | None, layers: int, norm_first: bool) -> None:
    encoder = Bert4Rec(VOCAB, width, layers, 2, hidden, max_length=7, norm_first=norm_first)
    inner = hidden or 4 * width
    block = 4 * width**2 + 2 * width * inner + inner + 9 * width
    assert {count(part) for part in encoder.blocks} == {block}
    assert count(encoder) == VOCAB * width + 8 * width + layers * block + 2 * width * norm_first
    if hidden is None:
        assert block == 12 * width**2 + 13 * width
    if width == 64:
        assert block == 49_984


@pytest.mark.parametrize("wrong", [{"width": 0}, {"layers": 0}, {"heads": 0}, {"hidden": 0}, {"max_length": 0}])
def test_a_shape_that_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="BERT4Rec has"):
        Bert4Rec(VOCAB, **wrong)

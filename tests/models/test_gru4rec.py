"""GRU4Rec against the equations of a GRU, step by step, and its counts."""

import pytest
import torch
from torch import Tensor

from userrep.errors import ConfigError
from userrep.methods.surgery import add_mask, flatten
from userrep.models.gru4rec import Gru4Rec, GruLayer, rotated
from userrep.training.weights import count

VOCAB, WIDTH, STEPS = 30, 4, 6


def layer() -> GruLayer:
    torch.manual_seed(0)
    found = GruLayer(WIDTH).double()
    for parameter in found.parameters():
        torch.nn.init.normal_(parameter)
    return found


def by_hand(gru: torch.nn.GRU, states: Tensor) -> Tensor:
    """Run one history `(n, D)` from a hidden state of zero."""
    hidden, seen = torch.zeros(WIDTH, dtype=torch.float64), []
    for state in states:
        inner = (gru.weight_ih_l0 @ state + gru.bias_ih_l0).chunk(3)
        past = (gru.weight_hh_l0 @ hidden + gru.bias_hh_l0).chunk(3)
        reset, update = torch.sigmoid(inner[0] + past[0]), torch.sigmoid(inner[1] + past[1])
        hidden = (1 - update) * torch.tanh(inner[2] + reset * past[2]) + update * hidden
        seen.append(hidden)
    return torch.stack(seen)


def test_a_layer_equals_the_equations_however_much_padding_comes_first() -> None:
    found, states, keep = layer(), torch.randn(4, STEPS, WIDTH, dtype=torch.float64), torch.ones(4, STEPS, 1)
    for row, padding in enumerate((0, 1, 5, 6)):
        keep[row, :padding] = 0
    hidden = found(states, keep)
    for row, padding in enumerate((0, 1, 5)):
        torch.testing.assert_close(hidden[row, padding:], by_hand(found.gru, states[row, padding:]))
    assert (hidden[keep.squeeze(-1) == 0] == 0).all()


def test_a_rotation_and_its_inverse_give_each_row_back() -> None:
    states, by = torch.arange(24.0).view(3, 4, 2), torch.tensor([[0], [1], [4]])
    assert torch.equal(rotated(rotated(states, by), -by), states)
    assert torch.equal(rotated(states, by)[1, :, 0], torch.tensor([10.0, 12, 14, 8]))


def test_a_mask_on_a_recurrent_weight_is_seen_and_can_be_written_out() -> None:
    encoder = Gru4Rec(VOCAB, WIDTH).eval()
    items, name = torch.randint(2, VOCAB, (2, STEPS)), "blocks.0.op.gru.weight_hh_l0"
    before = encoder(items)
    add_mask(encoder, name, torch.zeros(3 * WIDTH, WIDTH, dtype=torch.bool))
    masked = encoder(items)
    assert not torch.equal(masked, before)
    assert torch.equal(flatten(encoder)(items), masked)
    assert not encoder.state_dict()[name].any()


@pytest.mark.parametrize(("layers", "final_norm"), [(1, True), (3, False)])
def test_parameters_count_as_the_formula(layers: int, final_norm: bool) -> None:
    encoder = Gru4Rec(VOCAB, 64, layers, final_norm=final_norm)
    assert {count(part) for part in encoder.blocks} == {6 * 64**2 + 6 * 64} == {24_960}
    assert count(encoder) == VOCAB * 64 + layers * 24_960 + 2 * 64 * final_norm


@pytest.mark.parametrize("wrong", [{"width": 0}, {"layers": 0}])
def test_a_shape_that_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="GRU4Rec has"):
        Gru4Rec(VOCAB, **wrong)

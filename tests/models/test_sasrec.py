"""SASRec against PyTorch's own Transformer layer, its counts, and its longest history."""

import pytest
import torch

from userrep.errors import ConfigError
from userrep.models.sasrec import SasRec
from userrep.training.weights import count

VOCAB, WIDTH = 30, 8


def small(norm_first: bool = True, **changes: int) -> SasRec:
    torch.manual_seed(0)
    encoder = SasRec(VOCAB, WIDTH, heads=2, max_length=6, norm_first=norm_first, **changes)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return encoder.eval()


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_history_without_padding_equals_torchs_own_transformer(norm_first: bool) -> None:
    encoder = small(norm_first, layers=1, hidden=12)
    items = torch.randint(2, VOCAB, (3, 6))
    other = torch.nn.TransformerEncoderLayer(WIDTH, 2, 12, 0.0, "relu", 1e-8, True, norm_first).eval()
    own = dict(encoder.blocks[0].named_parameters())
    norms = ("attention.norm", "feed_forward.norm") if norm_first else ("attention_norm", "feed_forward_norm")
    names = {
        "self_attn.in_proj_": "attention.op.qkv.", "self_attn.out_proj.": "attention.op.out.",
        "linear1.": "feed_forward.op.expand.", "linear2.": "feed_forward.op.contract.",
        "norm1.": f"{norms[0]}.", "norm2.": f"{norms[1]}.",
    }  # fmt: skip
    theirs = {f"{a}{kind}": own[f"{b}{kind}"] for a, b in names.items() for kind in ("weight", "bias")}
    assert len(theirs) == len(own)
    other.load_state_dict(theirs)
    states = encoder.stem.table.weight[items] * WIDTH**0.5 + encoder.positions.weight.flip(0)
    later = torch.ones(6, 6, dtype=torch.bool).triu(1)
    torch.testing.assert_close(encoder(items), encoder.final.norm(other(states, src_mask=later)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("width", "hidden", "layers"), [(8, None, 2), (16, 24, 1), (64, None, 2)])
@pytest.mark.parametrize("norm_first", [True, False])
def test_parameters_count_as_the_formula(width: int, hidden: int | None, layers: int, norm_first: bool) -> None:
    encoder = SasRec(VOCAB, width, layers, 2, hidden, max_length=7, norm_first=norm_first)
    inner = hidden or width
    block = 4 * width**2 + 2 * width * inner + inner + 9 * width
    assert {count(part) for part in encoder.blocks} == {block}
    assert count(encoder) == VOCAB * width + 7 * width + layers * block + 2 * width
    if hidden is None:
        assert block == 6 * width**2 + 10 * width
    if width == 64:
        assert block == 25_216


def test_more_items_than_positions_are_refused_and_more_padding_is_not() -> None:
    encoder, items = small(), torch.randint(2, VOCAB, (2, 6))
    padded = torch.nn.functional.pad(items, (9, 0))
    assert torch.isfinite(encoder(padded)).all()
    with pytest.raises(ConfigError, match="7 items, the model has positions for 6"):
        encoder(torch.nn.functional.pad(items, (1, 0), value=3))


def test_a_task_token_moves_no_state_of_an_item() -> None:
    encoder, items = small(), torch.randint(2, VOCAB, (2, 6))
    plain = encoder.user(items)
    encoder.token = torch.nn.Parameter(torch.randn(WIDTH))
    torch.testing.assert_close(encoder.user(items), plain)


def test_positions_start_at_zero_and_first_weights_repeat_with_the_seed() -> None:
    torch.manual_seed(3)
    first = SasRec(VOCAB, WIDTH).state_dict()
    torch.manual_seed(3)
    again = SasRec(VOCAB, WIDTH).state_dict()
    assert not first["positions.weight"].any()
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize("wrong", [{"width": 0}, {"layers": 0}, {"heads": 0}, {"hidden": 0}, {"max_length": 0}])
def test_a_shape_that_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="SASRec has"):
        SasRec(VOCAB, **wrong)

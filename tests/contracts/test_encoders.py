"""The laws of encoders, for every yaml in conf/model, alone and under every method in conf/method."""

from copy import deepcopy

import pytest
import tiny
import torch
from torch import Tensor

from userrep.methods.surgery import set_readout, wrap
from userrep.models.encoder import Block, Encoder
from userrep.models.sublayer import Sublayer
from userrep.sequences.protocol import READOUTS

MODELS = tiny.names("model")
METHODS = tiny.names("method")
ROLES = ("op", "unit", "branch")
SPECS = (*READOUTS, "mean+items+token")


def cell(model: str, method: str | None) -> Encoder:
    """Build an encoder, alone or after a few steps of a method; skip with the reason where it refuses."""
    if method is None:
        return tiny.encoder(model)
    reason = tiny.refusal(model, method)
    if reason:
        pytest.skip(reason)
    return tiny.trained(model, method).encoder


def exact(encoder: Encoder) -> Encoder:
    """Copy an encoder in double precision, where a leak shows and rounding does not."""
    return deepcopy(encoder).double()


def close(left: Tensor, right: Tensor) -> None:
    torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-10)


with_and_without_method = pytest.mark.parametrize("method", [None, *METHODS])
every_model = pytest.mark.parametrize("model", MODELS)


@every_model
@with_and_without_method
def test_states_have_the_shape_of_the_items(model: str, method: str | None) -> None:
    encoder, items = cell(model, method), tiny.histories()
    assert tiny.states(encoder, items).shape == (*items.shape, encoder.width)
    assert tiny.users(encoder, items).shape == (len(items), encoder.user_width)
    assert encoder.item_vectors().shape == (encoder.vocab_size, encoder.width)


@every_model
@with_and_without_method
def test_a_later_item_moves_a_state_only_where_the_encoder_reads_both_ways(model: str, method: str | None) -> None:
    encoder, items = cell(model, method), tiny.histories(seed=1)
    before, moved = tiny.states(encoder, items), False
    for step in range(1, items.shape[1]):
        changed = items.clone()
        real = items[:, step] != 0
        changed[real, step] = (changed[real, step] + 7) % (encoder.vocab_size - 2) + 2
        after = tiny.states(encoder, changed)
        same = torch.equal(after[real, :step], before[real, :step])
        assert same or not encoder.causal
        assert not torch.equal(after[real, step:], before[real, step:])
        moved = moved or not same
    assert moved is not encoder.causal


@every_model
@with_and_without_method
@pytest.mark.parametrize("extra", [1, 5, 33])
def test_more_padding_moves_no_state(model: str, method: str | None, extra: int) -> None:
    encoder, items = exact(cell(model, method)), tiny.histories()
    padded = torch.nn.functional.pad(items, (extra, 0))
    real = items != 0
    close(tiny.states(encoder, padded)[:, extra:][real], tiny.states(encoder, items)[real])
    close(tiny.users(encoder, padded), tiny.users(encoder, items))


@every_model
@with_and_without_method
def test_padding_has_the_state_zero(model: str, method: str | None) -> None:
    items = tiny.histories()
    assert (tiny.states(cell(model, method), items)[items == 0] == 0).all()


@every_model
@with_and_without_method
def test_users_of_one_batch_do_not_meet(model: str, method: str | None) -> None:
    encoder, items = cell(model, method), tiny.histories(9)
    alone = torch.cat([tiny.states(encoder, items[row : row + 1]) for row in range(len(items))])
    torch.testing.assert_close(tiny.states(encoder, items), alone, rtol=1e-5, atol=2e-6)


@every_model
@pytest.mark.parametrize("readout", SPECS)
def test_every_readout_ignores_padding_and_survives_an_empty_history(model: str, readout: str) -> None:
    encoder, items = tiny.encoder(model), tiny.histories()
    set_readout(encoder, readout)
    encoder.double()
    user = tiny.users(encoder, items)
    assert user.shape == (len(items), encoder.user_width)
    padded = torch.nn.functional.pad(items, (6, 0))
    close(tiny.users(encoder, padded), user)
    assert torch.isfinite(tiny.users(encoder, torch.zeros_like(items))).all()


@every_model
def test_a_token_that_is_not_read_moves_no_user_and_what_was_trained_is_read_again(model: str) -> None:
    encoder, items = tiny.encoder(model), tiny.histories()
    set_readout(encoder, "mean")
    plain = tiny.users(encoder, items)
    set_readout(encoder, "token+attention")
    with torch.no_grad():
        encoder.readout.query.normal_(generator=torch.Generator().manual_seed(0))
    read = tiny.users(encoder, items)
    set_readout(encoder, "mean")
    assert torch.equal(tiny.users(encoder, items), plain)
    set_readout(encoder, "token")
    set_readout(encoder, "token+attention")
    found = tiny.users(encoder, items)
    assert torch.equal(found[:, : encoder.width], read[:, : encoder.width])


@every_model
def test_a_trained_query_goes_on_where_the_next_readout_has_one(model: str) -> None:
    encoder, items = tiny.encoder(model), tiny.histories()
    set_readout(encoder, "attention")
    with torch.no_grad():
        encoder.readout.query.normal_(generator=torch.Generator().manual_seed(0))
    read = tiny.users(encoder, items)
    set_readout(encoder, "attention+mean")
    assert torch.equal(tiny.users(encoder, items)[:, : encoder.width], read)


@every_model
def test_two_passes_in_evaluation_are_equal_bit_for_bit(model: str) -> None:
    encoder, items = tiny.encoder(model), tiny.histories()
    assert torch.equal(tiny.states(encoder, items), tiny.states(encoder, items))


@every_model
def test_every_parameter_gets_a_gradient(model: str) -> None:
    encoder, items = tiny.encoder(model).train(), tiny.histories()
    states = encoder(items)
    (states * torch.randn(states.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    still = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []


@every_model
def test_every_block_declares_each_role_or_says_why_not(model: str) -> None:
    for block in tiny.encoder(model).blocks:
        assert isinstance(block, Block)
        for role in ROLES:
            paths = block.roles.get(role, ())
            assert paths or block.gaps.get(role), f"{type(block).__name__} neither has nor explains the role {role}"
            assert all(isinstance(block.get_submodule(path), Sublayer) for path in paths)
        assert all(list(block.get_submodule(path).parameters()) for path in block.roles.get("norm", ()))


class Watched(Sublayer):
    """A sublayer that counts its calls and can change what comes out."""

    packs = True

    def __init__(self, inner: Sublayer) -> None:
        super().__init__()
        self.inner, self.calls, self.shift = inner, 0, 0.0

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        self.calls += 1
        assert keep.shape == (*states.shape[:2], 1)
        out = self.inner(states, keep)
        assert out.shape == states.shape
        return out + self.shift * torch.randn(out.shape, generator=torch.Generator().manual_seed(0))


@every_model
@pytest.mark.parametrize("role", ROLES)
def test_a_wrapper_at_a_role_is_called_once_a_pass_and_decides_what_comes_out(model: str, role: str) -> None:
    encoder, items = tiny.encoder(model), tiny.histories()
    paths = [f"blocks.{n}.{path}" for n, block in enumerate(encoder.blocks) for path in block.roles.get(role, ())]
    before = tiny.states(encoder, items)
    wrap(encoder, paths, Watched)
    assert torch.equal(tiny.states(encoder, items), before)
    watched = [encoder.get_submodule(path) for path in paths]
    assert [each.calls for each in watched] == [1] * len(paths)
    for path, each in zip(paths, watched, strict=True):
        each.shift = 1.0
        assert not torch.equal(tiny.states(encoder, items), before), f"{path} has no effect"
        each.shift = 0.0

"""The laws of methods, for every yaml in conf/method on every yaml in conf/model."""

from pathlib import Path

import pytest
import tiny
import torch

from userrep.methods import patch
from userrep.methods.surgery import flatten, matching
from userrep.models import packing
from userrep.sequences.protocol import Protocol
from userrep.training.weights import load_weights, same_weights, save_weights

MODELS = tiny.names("model")
METHODS = tiny.names("method")


def cell(model: str, method: str) -> tiny.Trained:
    reason = tiny.refusal(model, method)
    if reason:
        pytest.skip(reason)
    return tiny.trained(model, method)


every_model = pytest.mark.parametrize("model", MODELS)
every_method = pytest.mark.parametrize("method", METHODS)


def test_few_cells_are_refused_and_each_with_a_reason() -> None:
    reasons = [reason for model in MODELS for method in METHODS if (reason := tiny.refusal(model, method))]
    assert len(reasons) <= 0.2 * len(MODELS) * len(METHODS), reasons
    assert all(len(reason.rpartition(": ")[2]) > 15 for reason in reasons), reasons


@every_model
@every_method
def test_states_start_as_the_base_where_the_method_promises_it(model: str, method: str) -> None:
    trained = cell(model, method)
    same = torch.equal(trained.start_states, trained.base_states)
    assert same is trained.method.identity_at_start


@every_model
@every_method
def test_training_moves_what_the_method_declares_and_nothing_else(model: str, method: str) -> None:
    trained = cell(model, method)
    now = trained.encoder.state_dict()
    buffers = {name for name, _ in trained.encoder.named_buffers()}
    moved = {name for name in now if name not in buffers and not torch.equal(now[name], trained.start[name])}
    assert moved <= trained.declared
    assert len(moved) >= 0.7 * len(trained.declared)  # a unit whose ReLU is off for all of so few users stays


@every_model
@every_method
def test_the_frozen_base_is_untouched_bit_for_bit(model: str, method: str) -> None:
    trained = cell(model, method)
    base, now = tiny.encoder(model).state_dict(), trained.encoder.state_dict()
    frozen = {name: own for name, own in trained.base_names.items() if name not in trained.declared}
    assert all(torch.equal(now[name], base[own]) for name, own in frozen.items())
    assert set(trained.base_names.values()) == set(base)


@every_model
@every_method
def test_training_reaches_the_states_and_the_head(model: str, method: str) -> None:
    trained = cell(model, method)
    assert all(parameter.abs().sum() > 0 for parameter in trained.objective.parameters())
    inside = trained.declared - {"token", "readout.query"}
    assert torch.equal(tiny.changed_states(trained.encoder, tiny.histories()), trained.start_states) is not bool(inside)


@every_model
@every_method
def test_base_and_delta_give_the_trained_states_back_bit_for_bit(model: str, method: str, tmp_path: Path) -> None:
    trained = cell(model, method)
    size = save_weights(tmp_path / "delta.safetensors", trained.encoder, trained.objective, trained.delta)
    again = tiny.encoder(model)
    tiny.method(method).adapt(again, "mean+token")
    head = tiny.objective("task", "gender")
    head.setup(again, tiny.data(), Protocol(readout="mean+token", history=tiny.STEPS))
    load_weights(tmp_path / "delta.safetensors", again, head, partial=True)
    assert size == (tmp_path / "delta.safetensors").stat().st_size
    assert same_weights(again.state_dict(), trained.encoder.state_dict())
    assert same_weights(head.state_dict(), trained.objective.state_dict())
    items = tiny.histories()
    assert torch.equal(tiny.states(again, items), tiny.states(trained.encoder, items))
    assert torch.equal(tiny.users(again, items), tiny.users(trained.encoder, items))


@every_model
@every_method
def test_users_and_states_are_the_same_with_padding_and_without(
    model: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, base, items = cell(model, method).encoder, tiny.encoder(model), tiny.histories(11)
    found, used = [], []
    for packed in (packing.packed, lambda *_: None):
        monkeypatch.setattr(
            "userrep.models.encoder.packed", lambda *given, p=packed: used.append(p(*given)) or used[-1]
        )
        found.append((tiny.changed_states(encoder, items), tiny.states(encoder, items), tiny.users(encoder, items)))
        tiny.states(base, items)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)
    assert len({way is None for way in used[:4]}) == 1  # where a base takes packed rows, no method ends that
    assert used[4:] == [None] * 4


@every_model
@every_method
def test_a_flattened_encoder_has_plain_weights_and_the_same_states(model: str, method: str) -> None:
    trained, again = cell(model, method), tiny.encoder(model)
    tiny.method(method).adapt(again, "mean+token")
    again.load_state_dict(trained.encoder.state_dict())
    flat = flatten(again)
    assert torch.equal(tiny.states(flat, tiny.histories()), tiny.states(trained.encoder, tiny.histories()))
    assert not any("parametrizations" in name for name in flat.state_dict())


@every_model
@every_method
@pytest.mark.parametrize(("option", "value"), [("table_rank", 2), ("stem_patch", 3)])
def test_shared_additions_start_as_nothing_and_are_trained(model: str, method: str, option: str, value: int) -> None:
    reason = tiny.refusal(model, method)
    if reason:
        pytest.skip(reason)
    encoder, adapting = tiny.encoder(model), tiny.method(method)
    setattr(adapting, option, value)
    before = tiny.states(encoder, tiny.histories())
    adapting.adapt(encoder, "mean")
    if adapting.identity_at_start:
        assert torch.equal(tiny.states(encoder, tiny.histories()), before)
    trained = {name for phase in adapting.phases(encoder) for name in matching(encoder, phase.trainable)}
    vocab, width = encoder.vocab_size, encoder.width
    added = ("stem.table.low.", "stem.table.up.") if option == "table_rank" else ("stem.patch.",)
    sizes = [p.numel() for name, p in encoder.named_parameters() if name.startswith(added) and name in trained]
    wanted = (vocab + width) * value if option == "table_rank" else patch.count_parameters(width, value)
    assert sum(sizes) == wanted

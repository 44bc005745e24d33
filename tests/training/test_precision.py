"""Precision: products in bfloat16 where that is asked for or pays, all else in fp32."""

import numpy as np
import pytest
import tiny
import torch

from userrep.errors import ConfigError
from userrep.sequences.protocol import Protocol
from userrep.training import precision as module
from userrep.training.precision import precision
from userrep.training.trainer import PRECISIONS, Trainer

CPU = torch.device("cpu")


def test_fp32_changes_nothing_and_says_nothing() -> None:
    name, context, told = precision("fp32", CPU, 8)
    with context():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert (name, told) == ("fp32", "")


@pytest.mark.parametrize(("gain", "chosen"), [(1.0, "fp32"), (2.0, "bf16")])
def test_auto_takes_bf16_where_the_probe_finds_it_faster(
    gain: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(module, "measured_gain", lambda device, width: gain)
    name, context, told = precision("auto", CPU, 8)
    with context():
        made = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    assert (name, made) == (chosen, {"fp32": torch.float32, "bf16": torch.bfloat16}[chosen])
    assert f"{gain:.2f} times" in told


def test_a_run_goes_on_in_what_it_began_in_where_it_was_left_to_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_bfloat16", lambda device: True)
    assert module.settled("auto", None, CPU) == "auto"
    for before in ("fp32", "bf16"):
        assert module.settled("auto", before, CPU) == before
        assert module.settled("bf16", before, CPU) == "bf16"
    monkeypatch.setattr(module, "has_bfloat16", lambda device: False)
    assert module.settled("auto", "bf16", CPU) == "auto"


def test_a_device_without_bf16_is_told_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_bfloat16", lambda device: False)
    with pytest.raises(ConfigError, match="no bfloat16"):
        precision("bf16", CPU, 8)
    assert "no bfloat16" in precision("auto", CPU, 8)[2]
    with pytest.raises(ConfigError, match="precision"):
        Trainer(precision="fp16")
    assert PRECISIONS == ("fp32", "bf16", "auto")


def test_the_probe_measures_something() -> None:
    assert module.measured_gain(CPU, 16, turns=1) > 0


@pytest.mark.parametrize("model", tiny.names("model"))
@pytest.mark.parametrize("loss", ["full", "sampled", "bpr"])
def test_a_step_in_bf16_is_near_the_one_in_fp32_and_its_gradients_are_fp32(model: str, loss: str) -> None:
    encoder = tiny.encoder(model)
    objective = tiny.objective("objective", "next_item" if encoder.causal else "cloze", loss=loss)
    protocol = Protocol(history=tiny.STEPS)
    objective.setup(encoder, tiny.data(), protocol)
    users = np.ones(tiny.data().num_users, dtype=bool)
    feed = objective.feed(tiny.data(), protocol, users, tiny.STEPS, 16)
    batch = feed.batch(feed.order(np.random.default_rng(0))[0])

    def run(low: bool) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
            return objective.loss(encoder, batch, torch.Generator().manual_seed(0))

    exact, rough = run(False), run(True)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.02)
    rough.backward()
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in encoder.parameters())

"""Compiled blocks: tried once, the same states, and as they were where the compiler fails."""

from typing import Any

import pytest
import tiny
import torch

from userrep.errors import ConfigError
from userrep.models.encoder import Block, Encoder
from userrep.training.compiling import MODES, compile_blocks, undo
from userrep.training.trainer import COMPILING, Trainer

CPU = torch.device("cpu")


def compiled(encoder: Encoder) -> list[bool]:
    return [block._compiled_call_impl is not None for block in encoder.blocks]


def test_a_compiler_that_fails_leaves_the_blocks_as_they_were_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Block, **given: Any) -> None:
        def fail(*_: Any) -> None:
            raise RuntimeError("no C++ compiler found\nand a page of advice")

        self._compiled_call_impl = fail

    monkeypatch.setattr(Block, "compile", broken)
    encoder = tiny.encoder("nextitnet")
    before = tiny.states(encoder, tiny.histories())
    told = compile_blocks(encoder, "blocks", CPU, tiny.STEPS)
    assert told.endswith("cannot be compiled here: no C++ compiler found")
    assert not any(compiled(encoder))
    assert torch.equal(tiny.states(encoder, tiny.histories()), before)


def test_a_try_draws_nothing_and_leaves_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    def quick(self: Block, **given: Any) -> None:
        self._compiled_call_impl = self._call_impl  # what torch puts there calls the block

    monkeypatch.setattr(Block, "compile", quick)
    encoder = tiny.encoder("nextitnet", dropout=0.5).train()
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    assert "blocks in" in compile_blocks(encoder, "blocks", CPU, tiny.STEPS)
    assert torch.equal(torch.rand(3), wanted)
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert all(compiled(encoder))
    undo(encoder)
    assert not any(compiled(encoder))


@pytest.mark.slow
def test_compiled_blocks_make_the_same_states() -> None:
    encoder = tiny.encoder("nextitnet", dilations=[1])
    items = tiny.histories()
    before = tiny.states(encoder, items)
    told = compile_blocks(encoder, "blocks", CPU, tiny.STEPS)
    assert told.startswith("compile: 1 blocks in"), told
    torch.testing.assert_close(tiny.states(encoder, items), before, rtol=1e-5, atol=1e-5)
    undo(encoder)


def test_graphs_are_for_a_gpu_and_a_typo_is_refused() -> None:
    encoder = tiny.encoder("nextitnet")
    assert "no CUDA graphs" in compile_blocks(encoder, "graphs", CPU, tiny.STEPS)
    assert compile_blocks(encoder, "none", CPU, tiny.STEPS) == ""
    assert tuple(MODES) == COMPILING
    with pytest.raises(ConfigError, match="compile"):
        Trainer(compile="yes")

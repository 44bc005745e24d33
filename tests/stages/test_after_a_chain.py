"""What starts from a chain without promising to keep it: other methods read plain weights, and can train them all."""

from pathlib import Path
from typing import Any

import pytest
import torch

from userrep.training.weights import read_weights


@pytest.mark.parametrize("method", ["full", "last", "peterrec", "lora", "head"])
def test_a_method_that_keeps_no_chain_starts_from_what_the_chain_serves(ask: Any, chain: Path, method: str) -> None:
    words = ("--from", str(chain / "2"), "task=chain_age", "protocol.events=chain", "trainer.epochs=1")
    answer = ask("transfer", "--method", method, *words, "trainer.lr=0.01", "--run", "child")
    assert ask("evaluate", "child", "--split", "valid")["metrics"] == answer["metrics"]
    stored = read_weights(Path("child/delta.safetensors"))
    assert not any("owner" in name or "kept" in name for name in stored)


def test_full_fine_tuning_moves_kernels_that_the_tasks_of_a_chain_owned(ask: Any, chain: Path) -> None:
    words = ("--from", str(chain / "2"), "task=chain_age", "protocol.events=chain", "trainer.epochs=1")
    ask("transfer", "--method", "full", *words, "trainer.lr=0.01", "--run", "child")
    before = read_weights(chain / "2" / "delta.safetensors")
    name = "encoder.blocks.0.branch.first.op"
    owned = before[f"{name}.parametrizations.weight.0.owner"] > 0
    kept = before[f"{name}.parametrizations.weight.0.kept"]
    after = read_weights(Path("child/last.safetensors"))[f"{name}.weight"]  # whichever epoch was chosen
    assert not torch.equal(after[owned], kept[owned])
    again = ("--from", "child", "task=chain_liked", "protocol.events=chain", "--run", "next")
    error = ask("transfer", "--method", "conure", *again, code=2)
    assert "userrep prune child --method conure" in error["hint"]


def test_a_chain_is_pruned_by_magnitude_as_plain_weights(ask: Any, chain: Path) -> None:
    answer = ask("prune", str(chain / "1"), "--keep", "0.2", "trainer.epochs=1", "--run", "less")
    assert answer["sparsity"] == pytest.approx(0.8, abs=0.01)
    assert ask("evaluate", "less", "--split", "valid")["metrics"]

"""What a child takes over from its base: a chain goes on with the settings that it began with."""

from pathlib import Path
from typing import Any

import pytest

NEXT = ("transfer", "--method", "conure", "task=chain_gender", "protocol.events=chain", "--dry-run")


@pytest.fixture
def begun(ask: Any, chain: Path) -> Path:
    """A chain of one task that was planned for four, its norms each task's own."""
    planned = ("method.reserve_for=4", "method.vectors=own", "trainer.epochs=1")
    ask("prune", str(chain / "base"), "--method", "conure", *planned, "--run", "runs/planned")
    return Path("runs/planned")


def test_a_chain_goes_on_with_the_settings_that_it_began_with(ask: Any, begun: Path) -> None:
    config = ask(*NEXT, "--from", str(begun))["config"]
    assert (config["method"]["reserve_for"], config["method"]["keep"], config["method"]["vectors"]) == (4, None, "own")
    assert config["origins"]["method.reserve_for"] == config["origins"]["method.vectors"] == "base"


def test_what_is_typed_stands_for_what_it_excludes(ask: Any, begun: Path) -> None:
    config = ask(*NEXT, "--from", str(begun), "method.keep=0.5")["config"]
    method = config["method"]
    assert (method["keep"], method["reserve_for"], method["vectors"]) == (0.5, None, "own")
    assert config["origins"]["method.keep"] == "override"


def test_what_a_preset_says_stands_as_well(ask: Any, begun: Path, tmp_path: Path) -> None:
    preset = tmp_path / "conf" / "experiment" / "mine.yaml"
    preset.parent.mkdir(parents=True)
    preset.write_text("# @package _global_\nmethod:\n  keep: 0.25\n")
    config = ask(*NEXT, "--from", str(begun), "experiment=mine", "--config-dir", str(preset.parent.parent))["config"]
    assert (config["method"]["keep"], config["method"]["reserve_for"]) == (0.25, None)


def test_another_method_takes_nothing_over(ask: Any, begun: Path) -> None:
    words = ("transfer", "--method", "peterrec", "task=chain_gender", "protocol.events=chain", "--dry-run")
    config = ask(*words, "--from", str(begun))["config"]
    assert "reserve_for" not in config["method"]

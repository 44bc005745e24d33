"""What to type to go on with a run, and how an old key of a run's config is told."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from userrep.cli import main
from userrep.files import read_yaml, write_yaml
from userrep.run import Run
from userrep.stages.resume import to_go_on


def test_each_verb_that_trains_names_its_own_command() -> None:
    base = {"path": "../base", "weights_hash": "0"}
    assert to_go_on(Run(Path("runs/a b"), {"verb": "pretrain"})) == "userrep pretrain --resume --run 'runs/a b'"
    child = Run(Path("runs/x"), {"verb": "transfer", "parent": base})
    assert to_go_on(child) == "userrep transfer --resume --run runs/x"
    pruned = Run(Path("runs/x"), {"verb": "prune", "parent": base})
    assert to_go_on(pruned) == "userrep prune runs/base --resume --run runs/x"
    assert "command that made it" in to_go_on(Run(Path("runs/x"), {"verb": "baseline"}))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, prepared_data_dir: Path) -> Path:
    """A pre-trained run; for copying."""
    folder = tmp_path_factory.mktemp("made") / "base"
    words = ("pretrain", "dataset=synthetic", "model.width=16", "model.dilations=[1,2]", "trainer.epochs=1")
    with pytest.raises(SystemExit) as ended:
        main([*words, "--run", str(folder), "--data-dir", str(prepared_data_dir)])
    assert not ended.value.code
    return folder


@pytest.mark.parametrize("group", ["model", "objective", "protocol"])
def test_an_old_key_of_a_run_is_named_with_its_group(
    made: Path, userrep: Any, workplace: Path, prepared_data_dir: Path, group: str
) -> None:
    shutil.copytree(made, workplace / "base")
    config = read_yaml("base/config.yaml")
    config[group]["former"] = 1
    write_yaml("base/config.yaml", config)
    told = userrep("evaluate", "base", "--data-dir", str(prepared_data_dir), "--json")
    assert told.code == 2
    assert f"{group}.former is no key" in told.error["message"]


def test_nothing_reads_loss_nan_before_the_first_step(
    made: Path, userrep: Any, prepared_data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("userrep.progress.PLAIN_SECONDS", 0.0)  # every step has its line
    words = ("transfer", "--from", str(made), "--method", "head", "trainer.epochs=1", "--run", "child")
    told = userrep(*words, "--data-dir", str(prepared_data_dir))
    assert "epoch 0: loss -" in told.out
    assert "training: 1/" in told.err
    assert "nan" not in told.out + told.err

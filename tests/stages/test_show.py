"""`userrep show`: a run's facts, its ancestors, and where each value of its config came from."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from userrep.cli import main
from userrep.files import read_json, read_yaml, write_json, write_yaml


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, prepared_data_dir: Path) -> Path:
    """A folder with a base, a child of it by an experiment and a yaml of the user's; for copying."""
    folder = tmp_path_factory.mktemp("made")
    own = folder / "own"
    for name, text in (
        ("trainer/short.yaml", "defaults: [transfer]\nepochs: 1\n"),
        ("experiment/small.yaml", "# @package _global_\ndefaults:\n  - override /method: head\ntask:\n  norm: layer\n"),
    ):
        (own / name).parent.mkdir(parents=True)
        (own / name).write_text(text)
    base = ("pretrain", "dataset=synthetic", "model.width=16", "model.dilations=[1,2]", "trainer.epochs=1")
    child = ("transfer", "--from", str(folder / "base"), "experiment=small", "trainer=short", "trainer.lr=0.01")
    for name, words in (("base", base), ("child", (*child, "--config-dir", str(own)))):
        with pytest.raises(SystemExit) as ended:
            main([*words, "--run", str(folder / name), "--data-dir", str(prepared_data_dir)])
        assert not ended.value.code
    return folder


@pytest.fixture
def child(made: Path, workplace: Path) -> Path:
    for name in ("base", "child"):
        shutil.copytree(made / name, workplace / name)
    return Path("child")


def shown(userrep: Any, path: Path) -> dict[str, Any]:
    told = userrep("show", str(path), "--json")
    assert told.code == 0, told.err
    return dict(told.answer)


def test_each_value_says_where_it_came_from(userrep: Any, child: Path) -> None:
    config = shown(userrep, child)["config"]
    origins = {key: entry["from"] for key, entry in config.items()}
    assert origins["trainer.lr"] == "override"
    assert origins["trainer.epochs"].endswith("own/trainer/short.yaml")
    assert origins["task.norm"] == "experiment small"
    assert origins["task.metric"] == "conf/task/gender.yaml"
    assert origins["protocol.history"] == "conf/protocol/default.yaml"
    assert origins["seed"] == "conf/config.yaml"
    assert {origins[key] for key in ("protocol.fold", "model.width", "dataset.n_users")} == {"base"}
    assert config["trainer.lr"]["value"] == 0.01
    assert config["model.dilations"]["value"] == [1, 2]
    assert not any("_target_" in key or key.startswith(("origins", "choices")) for key in config)
    base = {key: entry["from"] for key, entry in shown(userrep, Path("base"))["config"].items()}
    assert base["model.width"] == "override"
    assert base["model.kernel_size"] == "conf/model/nextitnet.yaml"


def test_a_run_of_before_origins_is_held_against_the_packaged_files(userrep: Any, child: Path) -> None:
    config = read_yaml(child / "config.yaml")
    del config["origins"]
    config["choices"]["trainer"] = "transfer"
    write_yaml(child / "config.yaml", config)
    record = read_json(child / "run.json")
    del record["choices"]
    write_json(child / "run.json", record)
    origins = {key: entry["from"] for key, entry in shown(userrep, child)["config"].items()}
    assert origins["trainer.lr"] == origins["task.norm"] == "set, or another file"
    assert origins["trainer.clip"] == "conf/trainer/transfer.yaml"
    assert origins["model.width"] == "base"


def test_ancestors_metrics_and_readings_are_told(userrep: Any, child: Path, prepared_data_dir: Path) -> None:
    before = shown(userrep, child)
    assert [Path(path).name for path in before["parents"]] == ["base"]
    assert before["problem"] is None
    assert (before["metrics"]["test"], before["readings"]) == (None, [])
    assert before["made"]["method"] == "head"
    assert userrep("evaluate", "child", "--data-dir", str(prepared_data_dir)).code == 0
    after = shown(userrep, child)
    assert after["metrics"]["test"]["accuracy"] == after["readings"][0]["metrics"]["accuracy"]
    out = userrep("show", "child").out
    assert "readings of test: 1" in out
    assert "transfer head nextitnet, task gender, data set synthetic" in out


def test_a_base_that_is_gone_or_changed_is_said_and_no_error(userrep: Any, child: Path) -> None:
    weights = Path("base/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "base" in shown(userrep, child)["problem"]
    shutil.rmtree("base")
    told = shown(userrep, child)
    assert (told["parents"], "gone" in told["problem"]) == ([], True)


def test_lost_and_damaged_weights_are_said_and_no_error(userrep: Any, child: Path) -> None:
    assert shown(userrep, child)["problem"] is None
    weights = child / "delta.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "sha256 differs" in shown(userrep, child)["problem"]
    weights.unlink()
    assert "is missing" in shown(userrep, child)["problem"]
    assert "LOST" in userrep("show", str(child)).out


def test_what_is_no_run_is_refused_and_a_broken_line_of_readings_is_not(userrep: Any, child: Path) -> None:
    assert userrep("show", "nowhere", "--json").code == 2
    (child / "readings.jsonl").write_text('{"time": "2026-01-01", "metrics": {}}\n{"time": "20')
    assert len(shown(userrep, child)["readings"]) == 1

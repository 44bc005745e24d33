"""`userrep transfer --controls`: which runs are made or taken, what the gain is, what a failure costs."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from userrep.cli import main
from userrep.evaluation.per_user import read_per_user
from userrep.files import read_yaml
from userrep.run import open_run

TRAIN = ("--from", "base", "trainer.epochs=1")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, prepared_data_dir: Path) -> Path:
    """A folder with a pre-trained run and a transfer of it with two controls; for copying."""
    folder = tmp_path_factory.mktemp("made")
    small = ("model.width=16", "model.dilations=[1,2]", "trainer.batch_size=64", "trainer.epochs=1")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in (
            ("pretrain", "dataset=synthetic", *small, "--run", "base"),
            ("transfer", *TRAIN, "--method", "last", "method.table_rank=1", "--controls", "scratch,head", "--run", "a"),
        ):
            with pytest.raises(SystemExit) as ended:
                main([*words, "--data-dir", str(prepared_data_dir)])
            assert not ended.value.code
    return folder


@pytest.fixture
def transfer(made: Path, userrep: Any, workplace: Path, prepared_data_dir: Path) -> Any:
    """Transfer from the base in a copy of the folder, and expect it to end with `code`."""
    shutil.copytree(made, workplace, dirs_exist_ok=True)

    def run(*words: str, code: int = 0) -> Any:
        told = userrep("transfer", *TRAIN, *words, "--data-dir", str(prepared_data_dir), "--json")
        assert told.code == code, told.err
        return told.answer if code == 0 else told.error

    return run


def test_controls_share_all_but_the_method_and_lie_beside_the_run(transfer: Any) -> None:
    own = read_yaml("a/config.yaml")
    for name in ("scratch", "head"):
        config = read_yaml(f"a-{name}/config.yaml")
        assert config["choices"] == own["choices"] | {"method": name}
        assert config["method"].get("table_rank", 0) == 0
        same = set(own) - {"method", "choices", "origins"}
        assert {key: config[key] for key in same} == {key: own[key] for key in same}
        assert config["origins"]["trainer.epochs"] == "override"
        assert not [key for key in config["origins"] if key.startswith("method.")]


def test_finished_controls_are_taken_and_the_gain_is_that_of_the_users(transfer: Any) -> None:
    made = {name: (Path(f"a-{name}") / "run.json").read_bytes() for name in ("scratch", "head")}
    answer = transfer("--method", "last", "--controls", "scratch,head,scratch", "--run", "b")["controls"]
    assert [arm["method"] for arm in answer["arms"]] == ["last", "scratch", "head"]
    assert [arm["cached"] for arm in answer["arms"]] == [False, True, True]
    assert (answer["split"], answer["reference"], answer["failed"]) == ("valid", "scratch", {})
    assert {name: (Path(f"a-{name}") / "run.json").read_bytes() for name in made} == made
    ours, scratch = read_per_user([Path(run) / "per_user-valid.parquet" for run in ("b", "a-scratch")])
    assert np.array_equal(ours.users, scratch.users)
    gain = answer["gain"]["log_loss"]
    assert gain["difference"] == pytest.approx((ours.values()["log_loss"] - scratch.values()["log_loss"]).mean())
    assert gain["difference_interval"][0] <= gain["difference"] <= gain["difference_interval"][1]
    assert set(answer["gain"]) == {"accuracy", "log_loss"}
    assert answer["users"] == len(np.unique(ours.users))
    assert not list(Path().glob("*/readings.jsonl")), "test cases are not read"


def test_controls_of_a_run_without_a_name_go_where_a_bare_command_would_put_them(transfer: Any) -> None:
    answer = transfer("--method", "head", "--controls", "last", "protocol.history=50")
    control = answer["controls"]["arms"][1]
    bare = transfer("--method", "last", "protocol.history=50", "--dry-run")["run"]
    assert control["run"] == bare
    assert open_run(bare).finished
    assert (answer["controls"]["reference"], answer["controls"]["gain"]) == ("last", None)


def test_a_control_that_fails_is_told_and_costs_nothing_else(transfer: Any) -> None:
    answer = transfer("task=next_item", "--method", "last", "--controls", "head,scratch", "--run", "c")
    assert open_run("c").finished
    failed = answer["controls"]["failed"]
    assert list(failed) == ["head"]
    assert failed["head"]["kind"] == "config"
    assert [arm["method"] for arm in answer["controls"]["arms"]] == ["last", "scratch"]
    alone = transfer("task=next_item", "--method", "last", "--controls", "head", "--run", "c")["controls"]
    assert (alone["arms"], alone["gain"], list(alone["failed"])) == ([], None, ["head"])


def test_a_method_is_no_control_of_itself_and_an_unknown_one_is_refused_before_any_training(transfer: Any) -> None:
    plan = transfer("--method", "head", "--controls", "head,scratch", "--run", "d", "--dry-run")
    assert plan["controls"] == {"scratch": "a-scratch"}
    error = transfer("--controls", "scratch,scrtch", "--run", "d", code=2)
    assert "did you mean 'scratch'" in error["hint"]
    assert "not for transfer" in transfer("--controls", "prune", "--run", "d", code=2)["message"]
    assert not Path("d").exists()


def test_the_table_names_the_gain_and_what_less_means(transfer: Any, userrep: Any, prepared_data_dir: Path) -> None:
    words = ("--method", "last", "method.table_rank=1", "--controls", "scratch,head", "--run", "a")
    told = userrep("transfer", *TRAIN, *words, "--data-dir", str(prepared_data_dir))
    assert "transfer gain over scratch, 24 validation users" in told.out
    assert "less log_loss is better" in told.out
    assert "control head: a-head is there" in told.out

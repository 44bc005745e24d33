"""What to type to go on with a run, and how an old key of a run's config is told."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from userrep.cli import main
from userrep.files import read_json, read_yaml, write_json, write_yaml
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


@pytest.fixture
def mine(userrep: Any, workplace: Path) -> Any:
    """Write events of one's own, prepare them, and return what runs a verb on them."""

    def prepare(first: int, cut: int) -> None:
        rows = [f"u{user},i{(user * first + place) % 12},{place}" for user in range(30) for place in range(10)]
        Path("events.csv").write_text("\n".join(["user,item,time", *rows]))
        parts = [f"late,0,u{user},{place},{role}" for user in range(30)
                 for place, role in ((0, "train"), (cut, "valid"), (cut + 1, "test"))]  # fmt: skip
        Path("late.csv").write_text("\n".join(["split,fold,user,position,role", *parts]))
        words = ("--from-file", "events.csv", "--name", "mine", "--split-file", "late.csv")
        assert userrep("preprocess", *words).code == 0

    def ask(verb: str, *words: str) -> Any:
        return userrep(verb, *words, "--json")

    prepare(1, 7)
    ask.prepare = prepare  # type: ignore[attr-defined]
    return ask


TINY = ("dataset=mine", "model.width=8", "model.dilations=[1]", "trainer.epochs=1", "protocol.events=late")
CHILD = ("--from", "base", "--method", "full", "task=next_item", "protocol.events=late")


@pytest.mark.parametrize(("first", "cut", "cause"), [(5, 7, "was trained on mine"), (1, 4, "made with a split late")])
@pytest.mark.parametrize("unfinished", [False, True])
def test_no_run_goes_on_with_other_data_or_another_split_of_one_name(
    mine: Any, first: int, cut: int, cause: str, unfinished: bool
) -> None:
    words = ("pretrain", *TINY, "--run", "base")
    assert mine(*words).code == 0
    record = read_json("base/run.json")
    assert record["splits"]["events"]["name"] == "late"
    assert record["seen_split"]["name"] == "folds"
    if unfinished:
        write_json("base/run.json", record | {"status": "running"})
    assert mine(*words).code == 0
    mine.prepare(first, cut)
    followed = [("evaluate", "base"), ("transfer", "--from", "base", "--method", "head", "task=next_item")]
    for command in (words, *([] if unfinished else followed)):
        told = mine(*command)
        assert told.code == 3, told.err
        assert cause in told.error["message"]
        assert "--fresh" in told.error["hint"]
    assert mine(*words, "--fresh").code == 0
    assert mine("evaluate", "base").code == 0


def test_an_override_beside_resume_must_be_that_of_the_run_unless_it_says_how(mine: Any) -> None:
    assert mine("pretrain", *TINY, "--run", "base").code == 0
    record = read_json("base/run.json")
    write_json("base/run.json", record | {"status": "running"})
    for verb, words in (("pretrain", ()), ("transfer", CHILD)):
        run = {"pretrain": "base", "transfer": "child"}[verb]
        if words:
            assert mine(verb, *words, "trainer.epochs=1", "--run", run).code == 0
        again = (verb, *words, "--resume", "--run", run)
        told = mine(*again, "trainer.epochs=3")
        assert told.code == 2
        assert told.error["message"] == f"trainer.epochs=3, but {run} was begun with trainer.epochs=1"
        assert mine(*again, "trainer.epochs=1", "trainer.accumulate=2", "dataset=mine").code == 0
        assert mine(*again, "trainer.accumulate=none").code == 2
        assert mine(*again, "dataset=synthetic").code == 2

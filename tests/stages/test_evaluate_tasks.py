"""`userrep evaluate RUN --tasks`: every task of a chain on its newest weights, and each as a plain run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from userrep.evaluation.per_user import read_per_user
from userrep.run import open_run
from userrep.sequences.store import Prepared

SHORT = ("protocol.events=chain", "trainer.epochs=1")


@pytest.fixture(scope="module")
def forgetful(learned: Path, succeed: Callable[..., None]) -> Path:
    """A folder with the runs `full1` and `full2`: gender, then age, each from the run before, unprotected."""
    folder = learned.parent / "forgetful"
    shutil.copytree(learned / "base", folder / "base")
    for base, task, made in (("base", "gender", "full1"), ("full1", "age", "full2")):
        words = ("--from", str(folder / base), f"task=chain_{task}", "task.norm=none", "trainer.lr=0.01", *SHORT)
        succeed("transfer", "--method", "full", *words, "--run", str(folder / made))
    return folder


def readings(run: Path) -> list[dict[str, Any]]:
    path = run / "readings.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_each_task_answers_as_its_own_run_did(ask: Any, chain: Path) -> None:
    own = {task: ask("evaluate", f"runs/{task}") for task in (1, 2)}
    before = {path: path.read_bytes() for task in (1, 2) for path in (chain / str(task)).iterdir()}
    answer = ask("evaluate", "runs/3", "--tasks", "all")
    assert [(row["task"], row["name"], row["run"]) for row in answer["tasks"]] == [
        (1, "next_item", "runs/1"), (2, "chain_gender", "runs/2"), (3, "chain_age", "runs/3"),
    ]  # fmt: skip
    for row in answer["tasks"][:2]:
        assert row["metrics"] == own[row["task"]]["metrics"] == row["when_learned"]
        assert row["intervals"] == own[row["task"]]["intervals"]
    assert answer["tasks"][2]["when_learned"] is None, "run 3 was not evaluated by itself"
    assert before == {path: path.read_bytes() for task in (1, 2) for path in (chain / str(task)).iterdir()}


def test_reports_are_kept_in_the_newest_run_and_every_look_at_test_is_counted(ask: Any, chain: Path) -> None:
    first = ask("evaluate", "runs/3", "--tasks", "2")
    folder = chain / "3/tasks/2-chain_gender"
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.json", "per_user.parquet"]
    assert read_per_user([folder / "per_user.parquet"])[0].metrics() == first["tasks"][0]["metrics"]
    assert [(line["task"], line["name"]) for line in readings(chain / "3")] == [(2, "chain_gender")]
    again = ask("evaluate", "runs/3", "--tasks", "chain_gender, 3")
    assert [row["task"] for row in again["tasks"]] == [2, 3]
    assert again["tasks"][0]["metrics"] == first["tasks"][0]["metrics"]
    assert [line["task"] for line in readings(chain / "3")] == [2, 3]
    ask("evaluate", "runs/3", "--tasks", "2", "--fresh")
    assert [line["task"] for line in readings(chain / "3")] == [2, 3, 2]
    ask("evaluate", "runs/3", "--tasks", "2", "--split", "valid")
    assert len(readings(chain / "3")) == 3
    assert not (chain / "3/metrics.json").exists(), "the run's own report is another thing"


def test_a_table_is_shown(userrep: Any, chain: Path, prepared_data_dir: Path) -> None:
    words = ("evaluate", "runs/3", "--tasks", "all", "--split", "valid")
    told = userrep(*words, "--data-dir", str(prepared_data_dir))
    assert told.code == 0
    for text in ("3 task(s), valid", "next_item", "chain_gender", "chain_age", "ndcg@10", "accuracy"):
        assert text in told.out


def test_a_chain_without_protection_forgets_and_shows_it(ask: Any, forgetful: Path, workplace: Path) -> None:
    shutil.copytree(forgetful, workplace / "runs")
    own = [ask("evaluate", f"runs/{name}")["metrics"] for name in ("base", "full1", "full2")]
    answer = ask("evaluate", "runs/full2", "--tasks", "all")
    assert [row["name"] for row in answer["tasks"]] == ["next_item", "chain_gender", "chain_age"]
    assert [row["when_learned"] for row in answer["tasks"]] == own
    now = [row["metrics"] for row in answer["tasks"]]
    assert now[0]["ndcg@10"] != own[0]["ndcg@10"]
    assert now[1]["log_loss"] != own[1]["log_loss"]
    assert now[2] == own[2], "the newest task is as it was learned"


@pytest.mark.parametrize("asked", ["4", "0", "occupation", "1,,2", ""])
def test_what_the_chain_has_not_learned_is_refused(ask: Any, chain: Path, asked: str) -> None:
    told = ask("evaluate", "runs/3", "--tasks", asked, code=2)
    assert "1 next_item, 2 chain_gender, 3 chain_age" in told["hint"]


def test_what_is_no_chain_is_refused(ask: Any, chain: Path) -> None:
    assert "no chain" in ask("evaluate", "runs/base", "--tasks", "all", code=2)["message"]
    assert "one chain" in ask("evaluate", "runs/2", "runs/3", "--tasks", "all", code=2)["message"]
    ask("baseline", "majority", "dataset=synthetic", "--run", "runs/majority")
    assert "no chain" in ask("evaluate", "runs/majority", "--tasks", "all", code=2)["message"]


def test_every_task_is_exported_as_a_plain_run_with_the_same_metrics(ask: Any, chain: Path, prepared: Prepared) -> None:
    answer = ask("evaluate", "runs/3", "--tasks", "all", "--export", "plain")
    assert [row["export"] for row in answer["tasks"]] == [
        "plain/1-next_item", "plain/2-chain_gender", "plain/3-chain_age",
    ]  # fmt: skip
    shutil.rmtree(chain)  # they stand alone
    for row in answer["tasks"]:
        plain = open_run(row["export"])
        assert plain.record["parent"] is None
        held = load_file(plain.weights)
        assert not [name for name in held if "parametrizations" in name]
        assert ask("evaluate", row["export"])["metrics"] == row["metrics"]
    Path("users.txt").write_text("\n".join(prepared.user_ids[:2]))
    lists = ask("recommend", "plain/1-next_item", "--users", "users.txt", "--topk", "3")["recommendations"]
    assert len(lists) == 2


def test_a_pruned_run_is_exported_by_the_same_means(ask: Any, chain: Path) -> None:
    ask("prune", "runs/base", "--method", "conure", "trainer.epochs=1", "--run", "runs/1", "--export", "plain")
    assert ask("evaluate", "plain")["metrics"] == ask("evaluate", "runs/1")["metrics"]
    ask("transfer", "--method", "head", "--from", "plain", "task=chain_gender", *SHORT, "--run", "runs/child")


def test_a_task_token_and_a_low_rank_table_come_along(ask: Any, chain: Path) -> None:
    options = ("protocol.readout=mean+token", "method.table_rank=2", "task=chain_gender", *SHORT)
    ask("transfer", "--method", "full", "--from", "runs/base", *options, "--run", "runs/token")
    row = ask("evaluate", "runs/token", "--tasks", "2", "--export", "plain")["tasks"][0]
    assert ask("evaluate", row["export"])["metrics"] == row["metrics"]


def test_modules_that_a_method_inserted_have_no_place_in_a_plain_run(ask: Any, chain: Path) -> None:
    words = ("--from", "runs/base", "task=chain_gender", *SHORT, "--run", "runs/patched")
    ask("transfer", "--method", "peterrec", *words)
    assert "cannot answer" in ask("evaluate", "runs/patched", "--tasks", "all", code=2)["message"]
    told = ask("evaluate", "runs/patched", "--tasks", "2", "--export", "plain", code=2)
    assert "plain encoder" in told["message"]
    assert not Path("plain").exists()

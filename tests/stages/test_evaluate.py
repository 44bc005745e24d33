"""`userrep evaluate` and `userrep baseline`: what they print, keep and refuse."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from userrep.evaluation.per_user import read_per_user
from userrep.run import open_run

SMALL = ("model.width=16", "model.dilations=[1]", "trainer.epochs=1", "trainer.batch_size=64")


@pytest.fixture
def small(userrep: Any, prepared_data_dir: Path) -> Any:
    """Run a verb on the prepared data set."""
    return lambda *words: userrep(*words, "--data-dir", str(prepared_data_dir), "--json")


@pytest.fixture
def base(small: Any, workplace: Path) -> Path:
    """A pre-trained run."""
    assert small("pretrain", "dataset=synthetic", *SMALL, "--run", "runs/base").code == 0
    return workplace / "runs/base"


def readings(run: Path) -> list[dict[str, Any]]:
    path = run / "readings.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_evaluating_keeps_metrics_users_and_the_reading(small: Any, base: Path) -> None:
    told = small("evaluate", "runs/base")
    assert told.code == 0, told.err
    answer = told.answer
    assert {"verb", "run", "seconds", "split", "users", "metrics"} <= set(answer)
    assert (answer["split"], answer["users"]) == ("test", 300)
    assert {"hr@10", "ndcg@10", "mrr@5", "ndcg@10@uni99"} <= set(answer["metrics"])
    assert json.loads((base / "metrics.json").read_text())["metrics"] == answer["metrics"]
    assert pl.read_parquet(base / "per_user.parquet")["user"].str.starts_with("u").all()
    assert read_per_user([base / "per_user.parquet"])[0].metrics() == answer["metrics"]
    for name, (low, high) in answer["intervals"].items():
        assert low <= answer["metrics"][name] <= high
    for kind in ("history", "popularity"):
        assert sum(piece["cases"] for piece in answer["slices"] if piece["by"] == kind) == 300
    assert len(readings(base)) == 1


def test_the_test_set_is_read_once_unless_fresh_and_each_reading_is_counted(small: Any, base: Path) -> None:
    first = small("evaluate", "runs/base").answer
    second = small("evaluate", "runs/base")
    assert second.answer["metrics"] == first["metrics"]
    assert "evaluated before" in second.err
    assert len(readings(base)) == 1
    assert small("evaluate", "runs/base", "--fresh").answer["metrics"] == first["metrics"]
    assert len(readings(base)) == 2
    assert small("evaluate", "runs/base", "--split", "valid").code == 0
    assert len(readings(base)) == 2
    assert (base / "metrics-valid.json").exists()


def test_a_transfer_and_a_baseline_are_evaluated_side_by_side_and_exported(small: Any, base: Path) -> None:
    assert small("transfer", "--from", "runs/base", "trainer.epochs=1", "--run", "runs/child").code == 0
    assert small("baseline", "majority", "dataset=synthetic", "--run", "runs/majority").code == 0
    told = small("evaluate", "runs/child", "runs/majority", "--export", "out")
    assert told.code == 0, told.err
    child, majority = told.answer["runs"]
    assert set(child["metrics"]) == set(majority["metrics"]) == {"accuracy", "macro_f1", "log_loss", "auc"}
    assert majority["metrics"]["auc"] == 0.5
    assert sorted(path.name for path in Path("out/child").iterdir()) == ["metrics.json", "per_user.parquet"]


def test_what_is_no_finished_run_is_refused(small: Any, base: Path) -> None:
    assert small("evaluate", "runs/nothing").error["kind"] == "usage"
    record = json.loads((base / "run.json").read_text())
    (base / "run.json").write_text(json.dumps(record | {"status": "running"}))
    told = small("evaluate", "runs/base")
    assert told.code == 2
    assert "not finished" in told.error["message"]
    assert not (base / "metrics.json").exists()


def test_a_baseline_is_an_ordinary_run_that_is_made_once(small: Any, workplace: Path) -> None:
    told = small("baseline", "markov10", "dataset=synthetic", "task=next_item")
    assert told.code == 0, told.err
    assert {"verb", "run", "seconds", "split", "users", "metrics", "chosen", "trials"} <= set(told.answer)
    run = open_run(told.answer["run"])
    assert run.finished
    assert run.verb == "baseline"
    assert run.path.name.startswith("synthetic-markov10-next_item-s0-")
    assert [set(trial) for trial in run.record["trials"]] == [{"settings", "ndcg@10"}] * 4
    assert run.record["chosen"] == told.answer["chosen"]
    kept = {"config.yaml", "run.json", "metrics.json", "per_user.parquet", "metrics-valid.json", "readings.jsonl"}
    assert kept <= {path.name for path in run.path.iterdir()}
    again = small("baseline", "markov10", "dataset=synthetic", "task=next_item")
    assert again.answer["metrics"] == told.answer["metrics"]
    assert "already finished" in again.err
    assert len(readings(run.path)) == 1
    shown = small("evaluate", str(run.path)).answer["metrics"]
    assert shown == told.answer["metrics"]


@pytest.mark.parametrize(("name", "task"), [("popularity", "next_item"), ("majority", "gender")])
def test_a_baseline_takes_the_first_task_of_its_kind(small: Any, name: str, task: str) -> None:
    assert small("baseline", name, "dataset=synthetic").answer["task"] == task


def test_a_baseline_that_does_not_fit_leaves_nothing_behind(small: Any, workplace: Path) -> None:
    told = small("baseline", "majority", "dataset=synthetic", "task=next_item", "--run", "runs/wrong")
    assert told.code == 2
    assert "ranking" in told.error["message"]
    assert not (workplace / "runs/wrong").exists()
    assert "majority" in small("baseline", "majorty", "dataset=synthetic").error["hint"]


def test_a_split_of_the_wrong_kind_is_refused_before_a_baseline_is_fitted(small: Any, workplace: Path) -> None:
    words = ("dataset=synthetic", "task=next_item", "protocol.events=folds", "--run", "runs/wrong")
    told = small("baseline", "popularity", *words)
    assert (told.code, told.error["message"]) == (2, "protocol.events is 'folds', no split of events of synthetic")
    assert not (workplace / "runs/wrong").exists()


def test_a_baseline_that_lost_its_results_says_how_to_make_them_again(small: Any, workplace: Path) -> None:
    small("baseline", "majority", "dataset=synthetic", "--run", "runs/majority")
    (workplace / "runs/majority/per_user.parquet").unlink()
    told = small("evaluate", "runs/majority")
    assert told.code == 2
    assert "--fresh" in told.error["hint"]
    assert small("baseline", "majority", "dataset=synthetic", "--run", "runs/majority", "--fresh").code == 0
    assert small("evaluate", "runs/majority").code == 0

"""`userrep runs`: what is listed, how it is filtered and sorted, what a terminal shows."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from userrep.files import read_json, write_json, write_yaml
from userrep.run import open_run
from userrep.stages.runs import status


def make(folder: Path, name: str, **changes: Any) -> Path:
    """Write the record of a run, as far as a list reads it."""
    chosen = {"dataset": "toy", "model": "nextitnet", "method": "full", "task": "age"}
    record = {
        "verb": "transfer", "status": "finished", "config_hash": name, "choices": chosen, "task": "age",
        "data": {"name": "toy"}, "metrics": {"accuracy": 0.5}, "seconds": 3.0, "created": "2026-01-01T10:00:00",
    }  # fmt: skip
    record["choices"] = chosen | changes.pop("choices", {})
    write_json(folder / name / "run.json", record | changes)
    return folder / name


@pytest.fixture
def several(workplace: Path) -> Path:
    """A folder with four runs."""
    folder = workplace / "runs"
    make(folder, "a", created="2026-01-03", metrics={"accuracy": 0.7})
    make(folder, "deep/b", created="2026-01-01", metrics={"accuracy": 0.9}, choices={"method": "head"}, seconds=9.0)
    make(folder, "c", created="2026-01-02", metrics={"ndcg@10": 0.1}, task="next_item", verb="pretrain", seconds=1.0)
    make(folder, "d", created="2026-01-04", metrics=None, status="running")
    return folder


def listed(told: Any) -> list[str]:
    assert told.code == 0, told.err
    return [Path(row["run"]).name for row in told.answer["runs"]]


def test_runs_are_listed_from_old_to_new_and_sorted_on_request(userrep: Any, several: Path) -> None:
    assert listed(userrep("runs", "--json")) == ["b", "c", "a", "d"]
    assert listed(userrep("runs", "--sort", "metric", "--json")) == ["b", "a", "c", "d"]
    assert listed(userrep("runs", "--sort", "seconds", "--json")) == ["b", "a", "d", "c"]
    assert listed(userrep("runs", "runs/deep", "--json")) == ["b"]


def test_less_log_loss_is_better(userrep: Any, workplace: Path) -> None:
    for name, value in (("a", 0.6), ("b", 0.4), ("c", None)):
        make(workplace / "runs", name, metrics={"accuracy": 0.5, "log_loss": value})
    assert listed(userrep("runs", "--sort", "metric", "--metric", "log_loss", "--json")) == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("--method", "head"), ["b"]),
        (("--verb", "pretrain"), ["c"]),
        (("--task", "age", "--status", "finished"), ["b", "a"]),
        (("--status", "stopped"), ["d"]),
        (("--dataset", "toy", "--method", "head", "--verb", "pretrain"), []),
        (("--status", "running"), []),
        (("--method", "peterrec"), []),
    ],
)
def test_filters_keep_what_fits_all_of_them(
    userrep: Any, several: Path, words: tuple[str, ...], names: list[str]
) -> None:
    assert listed(userrep("runs", *words, "--json")) == names


def test_a_value_that_no_run_has_is_a_slip_and_is_answered_with_those_there_are(userrep: Any, several: Path) -> None:
    told = userrep("runs", "--method", "hed", "--json")
    assert told.code == 2
    assert "'head'" in told.error["hint"]
    assert userrep("runs", "nowhere", "--json").code == 2


def test_an_empty_folder_and_damaged_runs_are_no_error(userrep: Any, workplace: Path) -> None:
    (workplace / "runs" / "x").mkdir(parents=True)
    assert listed(userrep("runs", "--json")) == []
    (workplace / "runs" / "x" / "run.json").write_text("{")
    make(workplace / "runs", "y")
    assert listed(userrep("runs", "--json")) == ["y"]


def test_what_all_runs_share_is_said_once(userrep: Any, several: Path) -> None:
    lines = userrep("runs", "--task", "age", "--status", "finished").out.splitlines()
    assert lines[0] == "2 runs below runs, verb transfer, dataset toy, model nextitnet, task age, metric accuracy"
    assert lines[1].split() == ["run", "method", "valid", "seconds", "created"]
    assert lines[3].split()[:4] == ["deep/b", "head", "0.9000", "9"]


def test_an_unfinished_run_is_running_as_long_as_its_process_is(workplace: Path) -> None:
    path = make(workplace, "a", status="running")
    assert status(open_run(path)) == "stopped"
    (path / ".lock").write_text(str(os.getpid()))
    assert status(open_run(path)) == "running"
    for odd in ("0", "-1", "word", "9" * 30):
        (path / ".lock").write_text(odd)
        assert status(open_run(path)) == "stopped", odd


def test_an_old_run_is_read_from_the_end_of_its_config(userrep: Any, workplace: Path) -> None:
    path = make(workplace / "runs", "old")
    record = read_json(path / "run.json")
    del record["choices"]
    write_json(path / "run.json", record)
    write_yaml(path / "config.yaml", {"seed": 0, "task": {"note": "choices: none"}, "choices": {"method": "last"}})
    row = userrep("runs", "--json").answer["runs"][0]
    assert row["method"] == "last"
    (path / "config.yaml").unlink()
    assert userrep("runs", "--json").code == 0


def test_five_hundred_runs_are_listed_within_two_seconds(userrep: Any, workplace: Path) -> None:
    for number in range(500):
        (workplace / f"runs/{number}").mkdir(parents=True)
        (workplace / f"runs/{number}/run.json").write_text(
            f'{{"verb": "transfer", "config_hash": "{number}", "status": "finished", "choices": {{"method": "full"}}}}'
        )
    began = time.process_time()
    assert len(listed(userrep("runs", "--json"))) == 500
    assert time.process_time() - began < 2.0


def test_a_damaged_record_hides_no_other(userrep: Any, several: Path) -> None:
    make(several, "worded", metrics={"accuracy": "high"})
    make(several, "late", seconds="long")
    (several / "folder" / "run.json").mkdir(parents=True)
    told = userrep("runs", "--sort", "metric", "--json")
    assert listed(told) == ["b", "a", "c", "d"]
    assert [f"runs/{name}/run.json is no record" in told.err for name in ("worded", "late")] == [True, True]
    assert userrep("show", "runs/worded").code == 3


def test_a_metric_that_no_run_has_is_refused(userrep: Any, several: Path) -> None:
    told = userrep("runs", "--metric", "acuracy", "--json")
    assert told.code == 2
    assert "'accuracy'" in told.error["hint"]

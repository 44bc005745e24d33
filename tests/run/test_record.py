"""A run tells what it is and where it came from, and whether that has changed."""

import os
import shutil
from pathlib import Path

import pytest
from made_runs import CONFIG, make

from userrep.errors import DataError, UsageError, VerificationError
from userrep.files import read_json, write_json
from userrep.run import config_hash, default_path, list_runs, newest_run, open_run, writing


def test_a_finished_run_tells_what_it_is(tmp_path: Path) -> None:
    run = make(tmp_path / "base")
    assert (run.verb, run.finished, run.config) == ("pretrain", True, CONFIG)
    assert run.weights.read_bytes() == b"w"
    assert run.parent() is None
    assert run.record["metrics"] == {"ndcg@10": 0.1}
    assert {"userrep", "python", "torch", "numpy"} <= set(run.record["versions"])
    assert {"cpu", "cores"} <= set(run.record["machine"])
    assert os.uname().nodename not in (tmp_path / "base" / "run.json").read_text()


def test_a_text_about_the_data_set_does_not_make_another_run() -> None:
    plain = {"seed": 0, "dataset": {"name": "toy", "ties": "file"}}
    told = {"seed": 0, "dataset": {"name": "toy", "ties": "file", "licence": "ask first"}}
    other = {"seed": 0, "dataset": {"name": "toy", "ties": "random"}}
    assert config_hash("pretrain", plain) == config_hash("pretrain", told)
    assert config_hash("pretrain", plain) != config_hash("pretrain", other)


def test_a_child_finds_its_base_after_both_moved(tmp_path: Path) -> None:
    base = make(tmp_path / "runs" / "base")
    make(tmp_path / "runs" / "deep" / "child", verb="transfer", parent=base)
    (tmp_path / "runs").rename(tmp_path / "moved")
    parent = open_run(tmp_path / "moved" / "deep" / "child").parent()
    assert parent is not None
    assert parent.path == tmp_path / "moved" / "base"


def test_a_base_that_changed_after_transfer_is_found_out(tmp_path: Path) -> None:
    base = make(tmp_path / "base")
    child = make(tmp_path / "child", verb="transfer", parent=base)
    shutil.rmtree(tmp_path / "base")
    make(tmp_path / "base", weights=b"x")
    with pytest.raises(VerificationError, match="changed after") as caught:
        child.parent()
    assert caught.value.exit_code == 5


def test_a_base_that_is_gone_is_a_data_error(tmp_path: Path) -> None:
    child = make(tmp_path / "child", verb="transfer", parent=make(tmp_path / "base"))
    shutil.rmtree(tmp_path / "base")
    with pytest.raises(DataError, match="is gone"):
        child.parent()


@pytest.mark.parametrize(("content", "cause"), [(b"", "0 bytes instead of 1"), (b"x", "sha256 differs")])
def test_weights_that_changed_are_found_out(tmp_path: Path, content: bytes, cause: str) -> None:
    run = make(tmp_path / "base")
    child = make(tmp_path / "child", verb="transfer", parent=run)
    (tmp_path / "base" / "model.safetensors").write_bytes(content)
    with pytest.raises(VerificationError, match=cause):
        _ = open_run(tmp_path / "base").weights
    with pytest.raises(VerificationError):
        child.parent()


def test_weights_that_are_missing_or_not_there_yet_are_data_errors(tmp_path: Path) -> None:
    make(tmp_path / "base")
    (tmp_path / "base" / "model.safetensors").unlink()
    with pytest.raises(DataError, match="is missing"):
        _ = open_run(tmp_path / "base").weights
    with writing(tmp_path / "counted", verb="baseline", config=CONFIG) as session:
        with pytest.raises(DataError, match="not finished"):
            _ = session.run.weights
        session.finish()
    with pytest.raises(DataError, match="holds no weights"):
        _ = open_run(tmp_path / "counted").weights


def test_what_is_no_run_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        open_run(tmp_path / "missing")
    with pytest.raises(UsageError, match="holds no run"):
        open_run(tmp_path)


def test_a_damaged_or_newer_record_is_a_data_error(tmp_path: Path) -> None:
    make(tmp_path / "base")
    record = read_json(tmp_path / "base" / "run.json")
    write_json(tmp_path / "base" / "run.json", record | {"format": 99})
    with pytest.raises(DataError, match="newer userrep"):
        open_run(tmp_path / "base")
    for content in ("{", "[]", "{}"):
        (tmp_path / "base" / "run.json").write_text(content)
        with pytest.raises(DataError):
            open_run(tmp_path / "base")


def test_the_newest_finished_run_of_a_verb_is_found(tmp_path: Path) -> None:
    first = make(tmp_path / "pretrain" / "a")
    second = make(tmp_path / "base")
    make(tmp_path / "child", verb="transfer", parent=first)
    with writing(tmp_path / "unfinished", verb="pretrain", config=CONFIG):
        (tmp_path / "unfinished" / "log.jsonl").write_text("")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "run.json").write_text("{")
    assert newest_run("pretrain", tmp_path).path == second.path
    assert newest_run(("import", "pretrain"), tmp_path).path == second.path
    assert [run.path.name for run in list_runs(tmp_path)] == ["a", "base", "child", "unfinished"]
    with pytest.raises(UsageError, match="no finished prune run"):
        newest_run("prune", tmp_path)
    make(tmp_path / "later", config=CONFIG | {"choices": {"dataset": "other", "model": "nextitnet"}})
    assert newest_run("pretrain", tmp_path).path.name == "later"
    assert newest_run("pretrain", tmp_path, {"dataset": "toy", "model": "nextitnet"}).path == second.path
    with pytest.raises(UsageError, match="no finished pretrain run with dataset=third below"):
        newest_run("pretrain", tmp_path, {"dataset": "third"})
    told: list[str] = []
    list_runs(tmp_path, told.append)
    assert len(told) == 1
    assert "damaged" in told[0]


def test_the_default_path_names_what_was_chosen(tmp_path: Path) -> None:
    path = default_path(tmp_path, "pretrain", CONFIG)
    assert path == tmp_path / "pretrain" / f"toy-nextitnet-s3-{config_hash('pretrain', CONFIG)[:8]}"
    base = make(tmp_path / "base")
    config = CONFIG | {"choices": {"method": "peterrec", "task": "gender"}}
    child = default_path(tmp_path, "transfer", config, base)
    assert child.name.startswith("toy-peterrec-gender-s3-")
    assert child != default_path(tmp_path, "transfer", config)


def test_the_log_of_readings_grows_by_a_line_each(tmp_path: Path) -> None:
    run = make(tmp_path / "base")
    run.add_reading(split="test", command="evaluate")
    run.add_reading(split="test", command="evaluate")
    assert len((tmp_path / "base" / "readings.jsonl").read_text().splitlines()) == 2

"""A run is written by one process, once, and an unfinished one goes on."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from made_runs import CONFIG, make, names

from userrep.errors import DataError, Interrupted, UsageError
from userrep.files import read_json, read_yaml, replacing, write_json
from userrep.run import open_run, provenance, writing


def test_the_same_command_twice_does_the_work_once(tmp_path: Path) -> None:
    make(tmp_path / "base")
    with writing(tmp_path / "base", verb="pretrain", config=CONFIG) as session:
        assert session.finished_before
    assert open_run(tmp_path / "base").finished


def test_names_of_config_files_do_not_make_another_run(tmp_path: Path) -> None:
    make(tmp_path / "base")
    with writing(tmp_path / "base", verb="pretrain", config=CONFIG | {"choices": {}}) as session:
        assert session.finished_before


def test_another_config_is_refused_with_the_difference(tmp_path: Path) -> None:
    make(tmp_path / "base")
    other = CONFIG | {"model": {"width": 128}, "seed": 4}
    with pytest.raises(UsageError) as caught, writing(tmp_path / "base", verb="pretrain", config=other):
        pass
    assert "seed 3 -> 4" in caught.value.message
    assert "model.width 64 -> 128" in caught.value.message
    assert "--fresh" in caught.value.hint
    assert open_run(tmp_path / "base").finished


def test_another_verb_or_base_is_refused_too(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a", weights=b"1"), make(tmp_path / "b", weights=b"2")
    make(tmp_path / "child", verb="transfer", parent=first)
    with pytest.raises(UsageError, match="base weights"):
        make(tmp_path / "child", verb="transfer", parent=second)
    with pytest.raises(UsageError, match="verb transfer -> prune"):
        make(tmp_path / "child", verb="prune", parent=first)


def test_fresh_starts_over(tmp_path: Path) -> None:
    make(tmp_path / "base")
    (tmp_path / "base" / "deep").mkdir()
    other = CONFIG | {"seed": 4}
    with writing(tmp_path / "base", verb="pretrain", config=other, fresh=True) as session:
        assert not session.finished_before
        assert names(tmp_path / "base") == [".lock", "config.yaml", "run.json"]
        session.finish()
    assert read_yaml(tmp_path / "base" / "config.yaml")["seed"] == 4


def test_fresh_keeps_the_count_of_readings(tmp_path: Path) -> None:
    make(tmp_path / "base").add_reading(split="test")
    with writing(tmp_path / "base", verb="pretrain", config=CONFIG, fresh=True) as session:
        assert names(tmp_path / "base") == [".lock", "config.yaml", "readings.jsonl", "run.json"]
        session.finish()
    open_run(tmp_path / "base").add_reading(split="test")
    assert len((tmp_path / "base" / "readings.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("over", ["base", "child", "./child/../base"])
@pytest.mark.parametrize("role", ["parent", "source"])
def test_no_run_is_written_over_one_that_it_is_made_from(tmp_path: Path, over: str, role: str, fresh: bool) -> None:
    base = make(tmp_path / "base")
    child = make(tmp_path / "child", verb="transfer", parent=base)
    session = writing(tmp_path / over, verb="transfer", config=CONFIG, fresh=fresh, **{role: child})
    with pytest.raises(UsageError, match="is read to make this run"), session:
        pass
    assert open_run(tmp_path / "base").weights.read_bytes() == b"w"
    assert open_run(tmp_path / "child").parent() is not None


def test_a_temporary_file_of_another_process_is_not_swept(tmp_path: Path) -> None:
    make(tmp_path / "base")
    with (
        replacing(tmp_path / "base" / "metrics.json") as theirs,
        replacing(tmp_path / "base" / "run.json") as ours,
    ):
        theirs.write_text("{}")
        ours.write_text((tmp_path / "base" / "run.json").read_text())
        (tmp_path / "base" / ".users.0123abcd.tmp.parquet").mkdir()
        with writing(tmp_path / "base", verb="pretrain", config=CONFIG):
            assert theirs.exists()
            assert not ours.exists()
        ours.write_text((tmp_path / "base" / "run.json").read_text())
    assert (tmp_path / "base" / "metrics.json").read_text() == "{}"


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path, fresh: bool) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    session = writing(tmp_path, verb="pretrain", config=CONFIG, fresh=fresh)
    with pytest.raises(UsageError, match=r"no run: thesis\.tex"), session:
        pass
    assert names(tmp_path) == ["thesis.tex"]


def test_a_failure_before_any_work_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError), writing(tmp_path / "base", verb="pretrain", config=CONFIG):
        raise DataError("no data")
    assert names(tmp_path) == []


def test_an_interrupted_run_keeps_its_work_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "base"
    with pytest.raises(Interrupted), writing(path, verb="pretrain", config=CONFIG) as session:
        assert not session.partial
        (path / "checkpoint.pt").write_bytes(b"c")
        (path / "log.jsonl").write_text("{}\n")
        raise Interrupted(signal.SIGTERM)
    assert not open_run(path).finished
    with writing(path, verb="pretrain", config=CONFIG) as session:
        assert session.partial
        assert not session.finished_before
        (path / "model.safetensors").write_bytes(b"w")
        session.finish()
    assert names(path) == [".lock", "config.yaml", "log.jsonl", "model.safetensors", "run.json"]
    assert open_run(path).record["seconds"] >= 0


def interrupt(path: Path) -> None:
    """Begin or go on with a run, and leave it unfinished."""
    with pytest.raises(KeyboardInterrupt), writing(path, verb="pretrain", config=CONFIG):
        (path / "checkpoint.pt").write_bytes(b"c")
        raise KeyboardInterrupt


def test_going_on_with_another_torch_warns_and_is_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, known = tmp_path / "base", provenance.versions()

    def use(torch: str) -> None:
        monkeypatch.setattr(provenance, "versions", lambda: known | {"torch": torch})

    def told() -> list[str]:
        return [line for line in capsys.readouterr().err.splitlines() if "torch" in line]

    for torch, others, recorded in (
        ("2.11.0+cu130", None, None),
        ("2.11.0+cu130", None, None),
        ("2.13.0+cpu", "2.11.0+cu130", ["2.11.0+cu130", "2.13.0+cpu"]),
        ("2.13.0+cpu", "2.11.0+cu130", ["2.11.0+cu130", "2.13.0+cpu"]),
        ("2.11.0+cu130", "2.13.0+cpu", ["2.11.0+cu130", "2.13.0+cpu", "2.11.0+cu130"]),
    ):
        use(torch)
        interrupt(path)
        lines, record = told(), read_json(path / "run.json")
        assert record.get("torch") == recorded
        assert record["versions"]["torch"] == "2.11.0+cu130"
        assert len(lines) == (others is not None)
        if others:
            assert f"worked on by torch {others} and goes on with {torch}" in lines[0]
            assert "not promised" in lines[0]
    with writing(path, verb="pretrain", config=CONFIG) as session:
        session.finish()
    told()
    use("3.0")
    with writing(path, verb="pretrain", config=CONFIG):
        assert told() == []  # a finished run goes on with nothing


def test_a_run_that_recorded_no_torch_goes_on_without_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt(tmp_path / "base")
    record = read_json(tmp_path / "base" / "run.json")
    write_json(tmp_path / "base" / "run.json", {key: value for key, value in record.items() if key != "versions"})
    interrupt(tmp_path / "base")
    assert "torch" not in capsys.readouterr().err


HOLDER = """
import sys, time
from pathlib import Path
from userrep.run import writing
with writing(Path(sys.argv[1]), verb="pretrain", config={"seed": 3}) as session:
    (session.path / "checkpoint.pt").write_bytes(b"c")
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_live_process_keeps_the_lock_and_a_dead_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / "base"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        session = writing(path, verb="pretrain", config={"seed": 3})
        with pytest.raises(UsageError, match=f"written by process {holder.pid}"), session:
            pass
    finally:
        holder.kill()
        holder.wait()
    with writing(path, verb="pretrain", config={"seed": 3}) as session:
        assert session.partial


def test_another_choice_of_a_file_is_told_by_its_name_alone(tmp_path: Path) -> None:
    make(tmp_path / "base")
    other = CONFIG | {"model": {"width": 128, "heads": 2}, "choices": {"dataset": "toy", "model": "sasrec"}}
    with pytest.raises(UsageError) as caught, writing(tmp_path / "base", verb="pretrain", config=other):
        pass
    assert caught.value.message.endswith("has another config: model nextitnet -> sasrec")


def test_fields_are_on_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "base"
    with writing(path, verb="pretrain", config=CONFIG) as session:
        session.update(chosen={"task": "gender"})
        assert read_json(path / "run.json")["chosen"] == {"task": "gender"}
        session.finish()


def test_a_run_that_cannot_be_written_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DataError, match="cannot write"),
        writing(tmp_path / "file" / "x", verb="v", config=CONFIG),
    ):
        pass

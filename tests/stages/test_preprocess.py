"""`userrep preprocess` as a stage: its answer, what it leaves, and that it does nothing twice."""

import shlex
from pathlib import Path

import pytest

from userrep.config import compose
from userrep.errors import ConfigError, DataError
from userrep.files import read_json
from userrep.sequences.store import open_prepared
from userrep.stages import preprocess
from userrep.stages.request import Request

SMALL = ("dataset=synthetic", "dataset.n_users=40")


def test_the_answer_names_what_was_made(tmp_path: Path) -> None:
    answer = preprocess.run(Request(SMALL, data_dir=tmp_path))
    assert answer["verb"] == "preprocess"
    assert answer["dataset"] == "synthetic"
    assert answer["users"] == 40
    assert set(answer["splits"]) == {"leave_one_out", "chain", "time", "folds", "paper"}
    folder = Path(answer["path"])
    assert folder.is_relative_to(tmp_path / "prepared")
    assert read_json(folder / "meta.json")["hash"] == answer["hash"]
    assert {"card.json", "card.md", "audit.json", "splits.parquet"} <= {path.name for path in folder.iterdir()}


def test_the_card_and_the_audit_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = preprocess.run(Request(SMALL, data_dir=tmp_path))
    printed = capsys.readouterr().out
    assert answer["hash"] in printed
    assert "Leak audit" in printed


def test_the_second_time_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = preprocess.run(Request(SMALL, data_dir=tmp_path))
    marked = Path(first["path"]) / "mark"
    marked.touch()
    assert preprocess.run(Request(SMALL, data_dir=tmp_path)) == first
    assert marked.exists()
    assert "already prepared" in capsys.readouterr().out
    preprocess.run(Request(SMALL, data_dir=tmp_path, fresh=True))
    assert not marked.exists()


def test_another_config_has_its_own_folder_and_a_description_has_not(tmp_path: Path) -> None:
    usual = preprocess.run(Request(SMALL, data_dir=tmp_path))
    described = preprocess.run(Request((*SMALL, "dataset.title=Other"), data_dir=tmp_path))
    shuffled = preprocess.run(Request((*SMALL, "dataset.ties=random"), data_dir=tmp_path))
    assert described["path"] == usual["path"] != shuffled["path"]
    assert shuffled["hash"] != usual["hash"]


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    answer = preprocess.run(Request(SMALL, data_dir=tmp_path, dry_run=True))
    assert "hash" not in answer
    assert list(tmp_path.iterdir()) == []


def test_a_split_file_is_imported_and_stays_until_another_is_given(tmp_path: Path) -> None:
    first = preprocess.run(Request(SMALL, data_dir=tmp_path))
    users = read_json(Path(first["path"]) / "meta.json")["users"]
    rows = [f"mine,0,u{number:05d},0,{'test' if number < 9 else 'train'}" for number in range(users)]
    file = tmp_path / "mine.csv"
    file.write_text("\n".join(["split,fold,user,position,role", *rows]))
    given = preprocess.run(Request(SMALL, data_dir=tmp_path, extra={"split_file": str(file)}))
    assert given["hash"] == first["hash"]
    assert set(given["splits"]) - set(first["splits"]) == {"mine"}
    assert preprocess.run(Request(SMALL, data_dir=tmp_path)) == given


def test_a_table_of_your_own_needs_two_words(tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_text("user,item,time\nu,a,1\nu,b,2\nv,a,1\n")
    overrides = ("dataset=table", "dataset.name=mine", f"dataset.path={file}")
    answer = preprocess.run(Request(overrides, data_dir=tmp_path))
    assert (answer["dataset"], answer["users"], answer["events"]) == ("mine", 2, 3)
    file.write_text("user,item,time\nu,a,1\n")
    assert preprocess.run(Request(overrides, data_dir=tmp_path))["events"] == 1  # the file has changed


def test_missing_raw_files_say_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        preprocess.run(Request(("dataset=ml-100k",), data_dir=tmp_path))
    assert "userrep download ml-100k" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_value_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.ties"):
        preprocess.run(Request((*SMALL, "dataset.ties=sometimes"), data_dir=tmp_path))


def test_opening_what_is_not_prepared_says_what_to_type(tmp_path: Path) -> None:
    node = compose("preprocess", ["dataset=ml-1m", "dataset.ties=random"])["dataset"]
    with pytest.raises(DataError, match="ml-1m is not prepared") as caught:
        open_prepared(tmp_path, node)
    steps = caught.value.hint.split(" && ")
    where = f"--data-dir {tmp_path}"
    assert steps == [
        f"userrep download ml-1m {where}",
        f"userrep preprocess dataset=ml-1m dataset.ties=random {where}",
    ]


def test_what_is_to_be_typed_means_the_same_data_when_it_is_typed(tmp_path: Path) -> None:
    odd = ['dataset.path="it\'s a b.csv"', "dataset.time=null", "dataset.skip_bad=true", "dataset.labels=[a,b]"]
    for words in (["dataset=table", *odd], ["dataset=amazon-2023", "dataset.category=Video_Games"]):
        node = compose("preprocess", words)["dataset"]
        with pytest.raises(DataError, match="is not prepared") as caught:
            open_prepared(tmp_path / "d x", node)
        for step in caught.value.hint.split(" && "):
            _, verb, *typed = shlex.split(step)
            assert typed[-2:] == ["--data-dir", str(tmp_path / "d x")]
            typed[0] = typed[0] if "=" in typed[0] else f"dataset={typed[0]}"
            assert compose(verb, typed[:-2])["dataset"] == node

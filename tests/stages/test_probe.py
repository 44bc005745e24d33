"""`userrep probe`: its numbers are those of the baseline on each label, from user vectors that are read once."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from userrep.errors import DataError
from userrep.evaluation.ranking import Csr
from userrep.evaluation.spectrum import effective_rank
from userrep.files import read_json
from userrep.run import open_run
from userrep.sequences.store import Prepared
from userrep.stages.labels import labels_to_predict
from userrep.stages.vectors import embedder

SMALL = ("model.width=8", "model.dilations=[1]", "trainer.epochs=1")
SHORT = "protocol.history=20"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, succeed: Callable[..., None]) -> Path:
    """A folder with the runs `base`, `token` (adapted with a task token) and `majority`; for reading only."""
    folder = tmp_path_factory.mktemp("made")
    succeed("pretrain", "dataset=synthetic", *SMALL, SHORT, "protocol.readout=last", "--run", str(folder / "base"))
    token = ("--method", "head", "task=age", "protocol.readout=token", SHORT, "trainer.epochs=1")
    succeed("transfer", "--from", str(folder / "base"), *token, "--run", str(folder / "token"))
    succeed("baseline", "majority", "dataset=synthetic", "task=gender", "--run", str(folder / "majority"))
    return folder


@pytest.fixture
def probe(made: Path, ask: Any) -> Any:
    """Probe runs of the folder, and expect it to end with `code`."""

    def run(*words: str, code: int = 0, runs: tuple[str, ...] = ("base",)) -> Any:
        return ask("probe", *(str(made / name) for name in runs), *words, code=code)

    return run


def named(answer: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(Path(found["run"]).name, found["readout"], found["label"]) for found in answer["probes"]]


def test_each_label_is_predicted_as_by_the_baseline_on_that_run(probe: Any, made: Path, ask: Any) -> None:
    found = {split: probe("--split", split, "--readout", "mean+items")["probes"] for split in ("valid", "test")}
    assert [each["label"] for each in found["valid"]] == ["gender", "age"]
    for valid, test in zip(found["valid"], found["test"], strict=True):
        words = (f"task={valid['label']}", SHORT, "protocol.readout=mean+items", "--run", valid["label"])
        alone = ask("baseline", "probe_encoder", "--from", str(made / "base"), *words)
        assert valid["chosen"] == test["chosen"] == alone["chosen"]
        assert test["users"] == alone["users"]
        assert test["metrics"] == pytest.approx(alone["metrics"], abs=1e-6)
        assert valid["metrics"] == pytest.approx(open_run(valid["label"]).record["metrics"], abs=1e-6)


def test_a_labelled_part_of_the_users_and_another_fold_are_the_baselines_too(probe: Any, made: Path, ask: Any) -> None:
    answer = probe("--label", "age", "--label-fraction", "0.5", "--label-draw", "3", "--fold", "1", "--split", "test")
    words = ("task=age", "task.label_fraction=0.5", "task.label_draw=3", "protocol.fold=1", "protocol.readout=last")
    alone = ask("baseline", "probe_encoder", "--from", str(made / "base"), *words, SHORT, "--run", "alone")
    assert answer["probes"][0]["metrics"] == pytest.approx(alone["metrics"], abs=1e-6)
    assert answer["probes"][0]["chosen"] == alone["chosen"]


def test_runs_readouts_and_labels_stand_in_the_order_given(probe: Any) -> None:
    words = ("--label", "age", "--label", "gender", "--readout", "mean", "--readout", "last")
    answer = probe(*words, runs=("token", "base"))
    assert (answer["run"], answer["split"]) == (None, "valid")
    labels = ("age", "gender")
    assert named(answer) == [
        (run, readout, label) for run in ("token", "base") for readout in ("mean", "last") for label in labels
    ]


def test_a_run_is_read_as_its_protocol_says_unless_it_is_told(probe: Any) -> None:
    assert named(probe("--label", "age")) == [("base", "last", "age")]
    assert named(probe("--label", "age", runs=("token",))) == [("token", "token", "age")]


def test_the_majority_is_that_of_the_training_users(probe: Any, made: Path) -> None:
    found = probe("--label", "gender", "--split", "test")["probes"][0]
    assert found["majority"] == read_json(made / "majority" / "metrics.json")["metrics"]["accuracy"]


def test_the_effective_rank_is_that_of_all_users_by_their_whole_histories(
    probe: Any, made: Path, prepared: Prepared
) -> None:
    answer, sequences = probe("--label", "age", "--readout", "mean"), prepared.sequences()
    reader = embedder(open_run(made / "base"), prepared, torch.device("cpu"), "mean")
    vectors = reader.all(Csr(sequences.items, sequences.offsets[:-1], sequences.offsets[1:]))
    expected = effective_rank(torch.from_numpy(vectors.astype(np.float64)))
    told = {"users": prepared.num_users, "width": 8, "effective_rank": expected}
    assert answer["readouts"] == [{"run": str(made / "base"), "readout": "mean", **told}]


def test_a_look_at_test_users_is_recorded_and_one_at_validation_users_is_not(
    succeed: Callable[..., None], ask: Any, workplace: Path
) -> None:
    succeed("pretrain", "dataset=synthetic", *SMALL, SHORT, "--run", "own")
    ask("probe", "own", "--label", "age")
    assert not Path("own/readings.jsonl").exists()
    found = ask("probe", "own", "--split", "test")["probes"]
    lines = Path("own/readings.jsonl").read_text(encoding="utf-8").splitlines()
    readings = [json.loads(line) for line in lines]
    assert [reading["probe"] for reading in readings] == [
        {"label": label, "readout": "mean", "fold": 0} for label in ("gender", "age")
    ]
    assert [reading["metrics"] for reading in readings] == [each["metrics"] for each in found]


def test_users_whose_events_were_seen_are_told_of(
    userrep: Any, probe: Any, made: Path, prepared_data_dir: Path
) -> None:
    assert probe("--label", "age")["probes"][0]["users_seen"] == 0
    other = ("--fold", "1", "--split", "test")
    words = ("probe", str(made / "base"), "--label", "age", *other, "--data-dir", str(prepared_data_dir))
    told = userrep(*words, "--json")
    share = told.answer["probes"][0]["users_seen"]
    assert share > 0.5
    assert f"was trained on events of {share:.1%} of the test users" in told.err


def test_a_terminal_shows_a_row_a_probe_and_the_ranks(userrep: Any, made: Path, prepared_data_dir: Path) -> None:
    told = userrep("probe", str(made / "base"), "--readout", "mean", "--data-dir", str(prepared_data_dir))
    rows = [line.split() for line in told.out.splitlines() if "base" in line]
    assert [row[1:3] for row in rows] == [["mean", "gender"], ["mean", "age"], ["mean", "300"]]
    assert "effective rank" in told.out


@pytest.mark.parametrize(
    ("runs", "words", "code", "part"),
    [
        (("majority",), (), 2, "holds no encoder"),
        (("base", "majority"), (), 2, "holds no encoder"),
        (("nowhere",), (), 2, "does not exist"),
        (("base",), ("--label", "gnder"), 3, "no label 'gnder'"),
        (("base",), ("--readout", "token"), 2, "reads a trained token"),
        (("base",), ("--readout", "mean+attention"), 2, "reads a trained attention"),
        (("base",), ("--readout", "middle"), 2, "unknown part 'middle'"),
        (("base",), ("--label-fraction", "2"), 2, "label_fraction is 2"),
        (("base",), ("--fold", "9"), 3, "no fold 9"),
    ],
)
def test_what_cannot_be_probed_is_refused(
    probe: Any, runs: tuple[str, ...], words: tuple[str, ...], code: int, part: str
) -> None:
    error = probe(*words, code=code, runs=runs)
    assert part in error["message"]
    assert error["hint"]


def test_an_unfinished_run_is_refused(probe: Any, made: Path, workplace: Path, ask: Any) -> None:
    Path("half").mkdir()
    for name in ("config.yaml", "run.json"):
        text = (made / "base" / name).read_text(encoding="utf-8")
        (workplace / "half" / name).write_text(text.replace('"finished"', '"running"', 1), encoding="utf-8")
    assert "is not finished" in ask("probe", "half", code=2)["message"]


def test_without_scikit_learn_nothing_is_read(probe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    error = probe(code=2)
    assert "scikit-learn" in error["message"]
    assert error["hint"] == "pip install 'userrep[baselines]'"


def test_data_without_a_label_of_two_classes_are_refused(userrep: Any, workplace: Path) -> None:
    users = [f"u{number}" for number in range(40)]
    rows = [f"{user},i{(index + step) % 9},{step}\n" for index, user in enumerate(users) for step in range(6)]
    Path("events.csv").write_text("user,item,time\n" + "".join(rows))
    Path("users.csv").write_text("user,planet,mood\n" + "".join(f"{user},earth,{user[-1]}\n" for user in users))
    data = {}
    for name, labels in (("none", "[]"), ("one", "[planet]"), ("two", "[planet,mood]")):
        more = ("dataset.users_path=users.csv", f"dataset.labels={labels}")
        own = ("dataset=table", "dataset.path=events.csv", f"dataset.name={name}", *more)
        told = userrep("preprocess", *own, "--json")
        assert told.code == 0, told.err
        data[name] = Prepared(Path(told.answer["path"]))
    with pytest.raises(DataError, match="none has no labels"):
        labels_to_predict(data["none"])
    with pytest.raises(DataError, match="no label of one has two classes: planet"):
        labels_to_predict(data["one"])
    userrep("pretrain", *own, *SMALL, "--run", "base")
    assert [found["label"] for found in userrep("probe", "base", "--json").answer["probes"]] == ["mood"]
    told = userrep("probe", "base", "--label", "planet", "--json")
    assert (told.code, told.error["hint"]) == (3, "choose another label")
    assert "label 'planet' has fewer than two classes: ['earth']" in told.error["message"]

"""The audit across the tasks of a chain: what it lets pass, what it refuses, and the leak it was made for."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.sequences.listed import prepared_from, user_of
from userrep.cli import main
from userrep.config import compose
from userrep.errors import DataError, UsageError
from userrep.files import read_json
from userrep.objectives.next_item import NextItem
from userrep.sequences.exposure import Exposure, events_at
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared, open_prepared
from userrep.stages.chain_audit import Link, leaks_of, refuse

TOP = Path(__file__).resolve().parents[2]
CHAIN = ("protocol.events=chain", "protocol.pretrain_users=all", "trainer.epochs=1")
DATA = ("dataset=synthetic", "dataset.n_users=80")
SMALL = ("model.width=8", "model.dilations=[1]", "trainer.batch_size=64")


def last_rated(data: Prepared, least: float) -> Link:
    """A task with leave-one-out of its own: each user's last event of such a rating is tested."""
    events = data.sequences()
    chosen = np.flatnonzero(events.ratings >= least)
    owners = events.owners()[chosen]
    last = chosen[np.flatnonzero(np.diff(owners, append=-1))]
    return Link("last", Exposure(judged={"test": events_at(events, last)}))


def leave_one_out(data: Prepared) -> Link:
    """The next item under leave-one-out, as task 1."""
    everybody = np.ones(data.num_users, dtype=bool)
    return Link("next", NextItem().exposure(data, Protocol(events="leave_one_out"), everybody))


def test_leave_one_out_of_each_task_apart_is_caught(tmp_path: Path) -> None:
    data = prepared_from(tmp_path, user_of("u", "abcdef") + user_of("v", "abcdef"))
    ratings = np.array([5, 1, 1, 1, 1, 5, 1, 5, 1, 1, 1, 1])  # u's last 5 is the last event, v's the second
    data.sequences().__dict__["ratings"] = ratings
    with pytest.raises(UsageError) as caught:
        refuse([leave_one_out(data), last_rated(data, 5)])
    assert caught.value.message == "50.0% of the test events of last are answers in the training of next"
    assert "protocol.events=chain" in caught.value.hint
    refuse([leave_one_out(data)])


def ml_1m() -> Prepared:
    """Open MovieLens 1M as prepared in this checkout, or skip."""
    node = compose("preprocess", ["dataset=ml-1m"])["dataset"]
    for folder in (TOP.parent / "shared" / "data", TOP / "data"):
        try:
            return open_prepared(folder, node)
        except DataError:
            continue
    pytest.skip("ml-1m is prepared neither in shared/data beside the project nor in its data folder")


@pytest.mark.parametrize(("least", "share"), [(4.0, 0.235), (5.0, 0.602)])
def test_the_leak_of_leave_one_out_on_movielens_is_as_large_as_was_counted(least: float, share: float) -> None:
    data = ml_1m()
    found = [leak for _, _, leak in leaks_of([leave_one_out(data), last_rated(data, least)]) if leak.kind == "answers"]
    assert [(leak.role, round(leak.share, 3)) for leak in found] == [("test", share)]


def typed(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert not ended.value.code


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a base of the chain's split, `base`, and one of leave-one-out, `apart`; for copying."""
    folder = tmp_path_factory.mktemp("made")
    where = ("--data-dir", str(folder / "data"))
    typed("preprocess", *DATA, *where)
    typed("pretrain", *DATA, *SMALL, *CHAIN, "--run", str(folder / "base"), *where)
    typed("pretrain", *DATA, *SMALL, "trainer.epochs=1", "--run", str(folder / "apart"), *where)
    return folder


@pytest.fixture
def learn(userrep: Any, made: Path, workplace: Path) -> Any:
    """Transfer a run to a task, training the head alone unless a method is named, and expect the given exit code."""
    for name in ("base", "apart"):
        shutil.copytree(made / name, workplace / name)

    def run(base: str, task: str, *words: str, code: int = 0, method: str = "head") -> Any:
        own = ("--from", base, "--method", method, f"task={task}", "--run", f"{base}-{task}")
        options = ("trainer.epochs=1",) if base.startswith("apart") else CHAIN
        told = userrep("transfer", *own, *options, *words, "--data-dir", str(made / "data"), "--json")
        assert told.code == code, told.err
        return told.answer["run"] if code == 0 else told.error

    return run


def test_six_tasks_of_one_cut_form_a_chain(learn: Any) -> None:
    run = "base"
    for task in ("chain_liked", "chain_loved", "chain_gender", "chain_age"):
        run = learn(run, task)
    record = read_json(Path(run) / "run.json")
    assert {part: split["name"] for part, split in record["splits"].items()} == {"events": "chain", "users": "folds"}
    record = read_json(Path("base-chain_liked") / "run.json")
    assert set(record["splits"]) == {"events"}


def test_what_a_later_task_tests_may_not_have_been_read_by_an_earlier_one(learn: Any) -> None:
    error = learn(learn("base", "gender"), "chain_liked", code=2)
    assert "test events of liked,by=events (the new task) are read in the training of gender (" in error["message"]
    assert "task.until=cut" in error["hint"]


def test_what_an_earlier_task_tests_may_not_be_read_by_a_later_one(learn: Any) -> None:
    error = learn(learn("base", "chain_loved"), "gender", code=2)
    assert "of loved,by=events (base-chain_loved) are read in the training of gender (the new task)" in error["message"]
    learn("base-chain_loved", "chain_gender")


def test_answers_of_an_earlier_task_that_divides_users_are_no_test_events_of_a_chain(learn: Any) -> None:
    error = learn(learn("base", "liked"), "chain_loved", code=2)
    assert "of loved,by=events (the new task) are answers in the training of liked (base-liked)" in error["message"]


def test_the_users_are_divided_once_for_all_labels(learn: Any) -> None:
    learn("base", "chain_gender")
    error = learn("base-chain_gender", "chain_age", "protocol.fold=3", code=2)
    assert "users of age (the new task) teach their label to gender (base-chain_gender)" in error["message"]
    assert "protocol.fold" in error["hint"]
    error = learn("base-chain_gender", "chain_age", "protocol.users=paper", code=2)
    assert "teach their label" in error["message"]
    learn("base-chain_gender", "chain_age")


def test_labels_after_labels_need_no_cut_as_no_task_of_theirs_asks_for_events(learn: Any) -> None:
    learn(learn("apart", "gender"), "age")


def test_a_pruned_base_is_a_task_only_where_its_method_keeps_it(learn: Any, userrep: Any, made: Path) -> None:
    for method, code in (("prune", 0), ("conure", 2)):
        words = ("base", f"method={method}", "method.keep=0.5", "trainer.epochs=1", "--run", method)
        assert userrep("prune", *words, "--data-dir", str(made / "data")).code == 0
        told = learn(method, "gender", code=code, method="head" if code == 0 else "conure")
    assert "of the test events of next_item (conure) are read in the training of gender" in told["message"]
    learn("conure", "chain_gender", method="conure")


def test_a_start_from_random_weights_has_no_chain_behind_it(learn: Any) -> None:
    learn(learn("base", "gender"), "chain_liked", method="scratch")

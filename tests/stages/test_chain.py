"""Chains through the command line: several tasks in one command, stopped and gone on with, refused, and measured."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from userrep.cli import main
from userrep.errors import Interrupted
from userrep.files import read_json
from userrep.methods.conure import Conure, owned_weights
from userrep.models.encoder import Encoder
from userrep.run import open_run
from userrep.stages import training
from userrep.stages.chain_effort import Capacity, updates
from userrep.stages.chain_pictures import short

SMALL = ("dataset=synthetic", "model.width=16", "model.dilations=[1,2]", "trainer.batch_size=64", "trainer.epochs=1")
ONE_CUT = "protocol.events=chain"
TASKS = "tasks=[chain_gender,chain_age]"
BRIEFLY = ("trainer.epochs=1", "trainer.checkpoint_seconds=0")
WORDS = ("transfer", "--method", "conure", "--from", "one/1", ONE_CUT, *BRIEFLY)


def typed(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert not ended.value.code


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, prepared_data_dir: Path) -> Path:
    """A base, its task 1 by conure, two more tasks, the same two without protection, and models of one task."""
    folder = tmp_path_factory.mktemp("made")
    data = ("--data-dir", str(prepared_data_dir))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        typed("pretrain", *SMALL, ONE_CUT, "--run", "base", *data)
        typed("prune", "base", "--method", "conure", "trainer.epochs=1", "--run", "one/1", *data)
        typed(*WORDS, TASKS, "--run", "one", *data)
        common = ("transfer", "--from", "base", TASKS, ONE_CUT, *data)
        loud = ("trainer.epochs=3", "trainer.lr=0.1")
        typed(*common, "--method", "full", *loud, "chain=previous", "--run", "open")
        typed(*common, "--method", "scratch", "trainer.epochs=1", "--run", "single")
    return folder


@pytest.fixture
def small(userrep: Any, made: Path, workplace: Path, prepared_data_dir: Path) -> Any:
    """Run a command where a copy of all that was made lies, and return its answer, or its error."""
    shutil.copytree(made, workplace, dirs_exist_ok=True)

    def run(*words: str, code: int = 0) -> Any:
        told = userrep(*words, "--data-dir", str(prepared_data_dir), "--json")
        assert told.code == code, told.err
        return told.answer if code == 0 else told.error

    return run


def hashes(*runs: str) -> list[str | None]:
    return [open_run(run).weights_hash for run in runs]


def test_each_task_is_an_ordinary_run_of_the_one_before(small: Any) -> None:
    second, third = open_run("one/2-chain_gender"), open_run("one/3-chain_age")
    assert [run.path for run in (third.parent(), second.parent()) if run] == [Path("one/2-chain_gender"), Path("one/1")]
    again = small(*WORDS, TASKS, "--run", "one")
    assert (again["run"], again["base"], again["chain"]) == ("one/3-chain_age", "one/1", "previous")
    assert [one["run"] for one in again["runs"]] == ["one/2-chain_gender", "one/3-chain_age"]
    assert [one["task"] for one in again["runs"]] == ["chain_gender", "chain_age"]
    assert hashes("one/2-chain_gender", "one/3-chain_age") == [second.weights_hash, third.weights_hash]


def test_one_command_makes_what_one_command_a_task_makes(small: Any) -> None:
    small(*WORDS[:4], "one/1", *WORDS[5:], "task=chain_gender", "--run", "apart-2")
    small(*WORDS[:4], "apart-2", *WORDS[5:], "task=chain_age", "--run", "apart-3")
    assert hashes("apart-2", "apart-3") == hashes("one/2-chain_gender", "one/3-chain_age")


def test_without_run_each_goes_where_a_bare_command_would_put_it(small: Any) -> None:
    planned = small(*WORDS, TASKS, "--dry-run")
    assert planned["dry_run"]
    first, second = planned["runs"]
    assert (first["config"]["task"]["label"], second["config"]["task"]["label"]) == ("gender", "age")
    assert second["run"] is None  # it hangs on weights that are not there yet
    alone = small(*WORDS, "task=chain_gender", "--dry-run")
    assert first["run"] == alone["run"]


def test_methods_that_keep_a_base_start_every_task_from_it(small: Any) -> None:
    assert [str(open_run(f"single/{task}").parent().path) for task in ("chain_gender", "chain_age")] == ["base", "base"]  # type: ignore[union-attr]
    answer = small("transfer", "--method", "head", "--from", "base", "tasks=[gender]", ONE_CUT, "trainer.epochs=1")
    assert (answer["run"], answer["chain"], len(answer["runs"])) == (None, "base", 1)


class Stopping:
    """A loop that gets SIGINT after so many reports, or dies there without a word."""

    def __init__(self, after: int, dies: bool) -> None:
        self.after, self.dies, self.fit = after, dies, training.fit

    def __call__(self, job: Any, stop: Any) -> Iterator[Any]:
        for number, progress in enumerate(self.fit(job, stop), start=1):
            if number == self.after:
                if self.dies:
                    raise RuntimeError("the machine went down")
                stop.received = 2
            yield progress


# Reports of a task: 1 is the validation before training, then some train, one prunes, and as many retrain.
@pytest.mark.parametrize(("after", "dies"), [(3, False), (10, True), (13, True)])
def test_a_chain_stopped_in_any_phase_goes_on_and_ends_with_the_same_bits(
    small: Any, made: Path, monkeypatch: pytest.MonkeyPatch, after: int, dies: bool
) -> None:
    shutil.rmtree("one/3-chain_age")
    began = open_run("one/2-chain_gender").record["finished"]
    with monkeypatch.context() as patched:
        patched.setattr(training, "fit", Stopping(after, dies))
        error = small(*WORDS, TASKS, "--run", "one", code=1 if dies else Interrupted().exit_code)
    assert dies or "same command" in error["hint"]
    assert not open_run("one/3-chain_age").finished
    assert Path("one/3-chain_age/checkpoint.pt").exists()
    small(*WORDS, TASKS, "--run", "one")
    assert hashes("one/3-chain_age") == hashes(str(made / "one" / "3-chain_age"))
    assert open_run("one/2-chain_gender").record["finished"] == began  # what is finished was left alone


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["tasks=[chain_gender,chain_aeg]"], "unknown task 'chain_aeg'"),
        (["tasks=[chain_gender,chain_gender]"], "chain_gender is in tasks twice"),
        (["tasks=[chain_gender,gender]"], "chain_gender and gender are one task, gender"),
        (["tasks=[chain_age,next_item]"], "has learned next_item already"),
        (["tasks=chain_age"], "is no list of tasks"),
        (["tasks=[]"], "is no list of tasks"),
        (["tasks=[1]"], "is no list of tasks"),
        (["tasks=[chain_age"], "is no list of tasks"),
        ([TASKS, "task=chain_age"], "both task=chain_age and tasks"),
        ([TASKS, "--controls", "head"], "--controls is for one task"),
        ([TASKS, "chain=last"], "chain is 'last'"),
        (["chain=base"], "chain=base is for a list of tasks"),
        ([TASKS, "method.keep=0.999"], "task chain_gender: with method.keep=0.999"),
        ([TASKS, "method.keep=0.99"], "task chain_age: "),
        ([TASKS, "method.table_rank=2"], "task chain_gender: phase train of task 2 would train"),
        (["tasks=[chain_gender,age]"], "are read in the training of age"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_trained(small: Any, words: list[str], cause: str) -> None:
    error = small(*WORDS, *words, "--run", "new", code=2)
    assert cause in error["message"]
    assert error["hint"]
    assert not Path("new").exists()


def test_a_task_that_the_chain_has_is_refused_to_a_single_command_too(small: Any) -> None:
    words = (*WORDS[:4], "one/3-chain_age", ONE_CUT)
    error = small(*words, "task=chain_gender", code=2)
    assert error["message"] == "the chain of one/3-chain_age has learned gender already: one/2-chain_gender"
    assert "one/2-chain_gender" in small(*words, "tasks=[chain_gender]", code=2)["message"]


def test_a_plain_base_random_weights_and_a_run_as_folder_are_refused(small: Any) -> None:
    error = small("transfer", "--method", "conure", "--from", "base", TASKS, ONE_CUT, code=2)
    assert error["hint"].endswith("userrep prune base --method conure")
    error = small("transfer", "--method", "scratch", "--from", "base", TASKS, ONE_CUT, "chain=previous", code=2)
    assert "starts from random weights" in error["message"]
    assert "is a run" in small(*WORDS, TASKS, "--run", "one/1", code=2)["message"]


def test_an_experiment_gives_each_task_of_a_chain_its_own_epochs(small: Any) -> None:
    Path("mine/experiment").mkdir(parents=True)
    Path("mine/experiment/two.yaml").write_text(
        "# @package _global_\ntrainer: {epochs: 2}\nfor_task:\n  chain_age: {trainer: {epochs: 3}}\n"
    )
    words = ("transfer", "--method", "head", "--from", "base", TASKS, ONE_CUT, "experiment=two", "--config-dir", "mine")
    runs = small(*words, "--dry-run")["runs"]
    assert [one["config"]["trainer"]["epochs"] for one in runs] == [2, 3]
    runs = small(*words, "trainer.epochs=4", "--dry-run")["runs"]
    assert [one["config"]["trainer"]["epochs"] for one in runs] == [4, 4]


def test_a_certified_chain_forgets_exactly_nothing(small: Any, userrep: Any, prepared_data_dir: Path) -> None:
    answer = small("chain", "one/3-chain_age", "--split", "valid")
    assert (answer["exact"], answer["backward_transfer"], answer["backbones"]) == (True, 0.0, 1)
    matrix = answer["matrix"]
    assert [row.count(None) for row in matrix] == [2, 1, 0]
    for place in range(3):
        assert {row[place] for row in matrix[place:]} == {matrix[place][place]}
        later = [row[place] for row in answer["metrics"][place:]]
        assert all(metrics == later[0] for metrics in later)
    recorded = [open_run(one["run"]).record["metrics"] for one in answer["tasks"]]
    assert answer["metrics"][2][1:] == recorded[1:]  # as each run said when it was made
    assert answer["average"] == pytest.approx(sum(matrix[2]) / 3)
    told = userrep("chain", "one/3-chain_age", "--split", "valid", "--data-dir", str(prepared_data_dir))
    assert "backward transfer 0 (exact)" in told.out
    assert not Path("one/3-chain_age/readings.jsonl").exists()  # of test there was none


def test_a_chain_without_protection_shows_what_it_forgets(small: Any) -> None:
    answer = small("chain", "open/3-chain_age", "--metric", "ndcg@20", "--metric", "log_loss")
    assert [task["metric"] for task in answer["tasks"]] == ["ndcg@20", "log_loss", "log_loss"]
    matrix = np.array(answer["matrix"], dtype=float)
    assert answer["exact"] is False
    changes = [matrix[2, 0] - matrix[0, 0], -(matrix[2, 1] - matrix[1, 1])]  # less log loss is better
    assert answer["backward_transfer"] == pytest.approx(np.mean(changes))
    assert [task["change"] for task in answer["tasks"]] == [*map(pytest.approx, changes), None]
    assert answer["backward_transfer"] < 0
    assert (answer["capacity"], answer["tasks"][0]["share"]) == (None, None)
    assert Path("base/readings.jsonl").is_file()  # test was read


def test_capacity_is_counted_from_owners_and_effort_from_logs(small: Any) -> None:
    answer = small("chain", "one/3-chain_age", "--split", "valid")
    capacity, shares = answer["capacity"], [task["share"] for task in answer["tasks"]]
    assert len(capacity["layers"]) == 4
    for counts in capacity["layers"].values():
        assert counts == [768 - 230 - 161 - 112, 230, 161, 112]  # int(.3 * 768), int(.21 * 768), int(.147 * 768)
    assert shares == capacity["owned"] == pytest.approx([230 / 768, 161 / 768, 112 / 768])
    assert capacity["free"] == pytest.approx([538 / 768, 377 / 768, 265 / 768])
    task, run = answer["tasks"][1], open_run("one/2-chain_gender")
    phases = [one for one in (run.path / "log.jsonl").read_text().splitlines() if '"phase": "train"' in one]
    assert task["updates"] == updates(run) > len(phases)
    assert task["bytes"] == (run.path / "delta.safetensors").stat().st_size
    base, first = open_run("base"), open_run("one/1")
    assert answer["tasks"][0]["updates"] == (updates(base) or 0) + (updates(first) or 0)


def test_forward_transfer_is_held_against_models_of_one_task(small: Any) -> None:
    singles = ("--single", "single/chain_age", "--single", "single/chain_gender")
    answer = small("chain", "one/3-chain_age", "--split", "valid", *singles)
    forward = answer["forward_transfer"]
    assert [one["run"] for one in forward["tasks"]] == ["single/chain_gender", "single/chain_age"]
    gains = []
    for one in forward["tasks"]:
        value = read_json(Path(one["run"]) / "run.json")["metrics"]["accuracy"]
        assert one["single"] == value
        gains.append(answer["matrix"][one["task"] - 1][one["task"] - 1] - value)
        assert (one["updates"], one["single_updates"]) == (
            answer["tasks"][one["task"] - 1]["updates"], updates(open_run(one["run"])),
        )  # fmt: skip
    assert forward["value"] == pytest.approx(sum(gains) / 2)
    assert forward["backbones"] == 2


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["base"], "is no chain of tasks"),
        (["one/3-chain_age", "--metric", "acuracy"], "no task of the chain has metric 'acuracy'"),
        (["one/2-chain_gender", "--single", "single/chain_age"], "is of task age, which the chain lacks"),
        (["one/3-chain_age", "--single", "open/3-chain_age", "--single", "single/chain_age"], "are both of chain_age"),
        (["open/3-chain_age", "--single", "elsewhere"], "under another protocol than open/2-chain_gender"),
    ],
)
def test_what_cannot_be_measured_is_refused(small: Any, words: list[str], cause: str) -> None:
    if "elsewhere" in words:
        more = ("trainer.epochs=1", "protocol.fold=1", "--run", "elsewhere")
        small("transfer", "--method", "scratch", "--from", "base", "task=gender", ONE_CUT, *more)
    error = small("chain", *words, "--split", "valid", code=2)
    assert cause in error["message"]
    assert error["hint"]


def test_an_answer_that_changed_under_a_certificate_is_exit_5(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def all_owners(self: Conure, encoder: Encoder, task: int) -> None:
        for _, owned in owned_weights(encoder):
            owned.serve(9)

    monkeypatch.setattr(Conure, "serve", all_owners)
    error = small("chain", "one/3-chain_age", "--split", "valid", code=5)
    assert "answers for task 1 (next_item) otherwise than one/1" in error["message"]
    assert error["hint"] == "userrep verify one/2-chain_gender"


def test_pictures_are_drawn(small: Any) -> None:
    pytest.importorskip("matplotlib")
    answer = small("chain", "one/3-chain_age", "--split", "valid", "--plot", "pictures")
    assert answer["pictures"] == ["pictures/owners.png", "pictures/capacity.png"]
    for path in answer["pictures"]:
        assert Path(path).read_bytes().startswith(b"\x89PNG")
    assert small("chain", "open/3-chain_age", "--split", "valid", "--plot", "none")["pictures"] == []


def test_bars_have_the_lengths_of_the_shares() -> None:
    pytest.importorskip("matplotlib")
    from userrep.stages.chain_pictures import owners

    counts = np.array([[5, 3, 2], [0, 10, 10]])
    bars = owners(["1 a", "2 b"], Capacity(("blocks.0.op.weight", "blocks.1.op.weight"), counts)).axes[0].containers
    widths = [[bar.get_width() for bar in bars_of_owner] for bars_of_owner in bars]  # type: ignore[attr-defined]
    assert widths == [[30.0, 50.0], [20.0, 50.0], [50.0, 0.0]]


def test_layers_are_named_by_what_tells_them_apart() -> None:
    assert short(["blocks.0.branch.first.op.weight", "blocks.1.branch.first.op.weight"]) == ["0", "1"]
    assert short(["blocks.0.op.weight"]) == ["blocks.0.op.weight"]
    assert short(["a.b", "a"]) == ["b", "a"]

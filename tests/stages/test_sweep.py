"""`userrep sweep`: all trials are checked before the first, each is an ordinary command, failures stay alone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import userrep as package

pytestmark = pytest.mark.timeout(600)  # children of their own, on a busy machine; seconds of one core
TOP = Path(package.__file__).parent.parent
SMALL = ("dataset=synthetic", "model.width=8", "model.dilations=[1]", "trainer.batch_size=64")


@pytest.fixture
def sweep(userrep: Any, prepared_data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a sweep on the prepared data set; its children run this checkout."""
    monkeypatch.setenv("PYTHONPATH", str(TOP))

    def run(*words: str, code: int = 0) -> dict[str, Any]:
        own = [] if "--file" in words else ["--data-dir", str(prepared_data_dir)]
        told = userrep("sweep", *words, *own, "--json")
        assert told.code == code, told.err
        return told.error if code == 2 else told.answer

    return run


@pytest.mark.parametrize(
    ("words", "trial", "hint"),
    [
        (
            ("pretrain", *SMALL, "model=nextitnet,nextitnte"),
            "trial nextitnte: unknown model",
            "did you mean 'nextitnet'",
        ),
        (("pretrain", *SMALL, "trainer.lr=0.1,-1"), "trial lr-1: trainer.lr is -1", "a rate above 0"),
        (("pretrain", *SMALL, "--seed", "0,x"), "trial sx:", "userrep pretrain --help"),
        (("pretrain", *SMALL, "--seed", "0,1", "--jbos", "2"), "trial s0: No such option: --jbos", "--help"),
        (("pretrian", "--seed", "0,1"), "trial s0: No such command 'pretrian'", "--help"),
        (("transfer", "--method", "head,full", "--from", "nowhere"), "trial head: nowhere does not exist", "run.json"),
    ],
)
def test_a_typo_is_refused_before_the_first_trial(
    sweep: Any, workplace: Path, words: tuple[str, ...], trial: str, hint: str
) -> None:
    error = sweep(*words, code=2)
    assert trial in error["message"]
    assert hint in error["hint"]
    assert os.listdir(workplace) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "over one command, or over a list"),
        (("pretrain", "--file", "list.txt"), "over one command, or over a list"),
        (("sweep", "pretrain"), "sweep over a sweep"),
        (("pretrain", "seed=0,1", "--resume"), "--resume means one run"),
        (("pretrain", "--trials", "3"), "are for a search"),
        (("pretrain", "--gpus", "0", "--jobs", "2"), "both --gpus and --jobs"),
        (("pretrain", "--gpus", "0", "--on", "ray"), "of this machine"),
        (("pretrain", "--jobs-per-gpu", "2"), "without --gpus"),
        (("pretrain", "--cpus-per-trial", "2"), "is for a cluster"),
        (("pretrain", "--gpus", "97"), "there is no GPU 97"),
        (("pretrain", "--search", "optuna"), "nothing to search"),
        (("--file", "nowhere.txt"), "there is no list"),
    ],
)
def test_flags_that_cannot_work_are_refused(
    userrep: Any, workplace: Path, words: tuple[str, ...], message: str
) -> None:
    told = userrep("sweep", *words, "--json")
    assert told.code == 2
    assert message in told.error["message"]
    assert told.error["hint"]
    assert os.listdir(workplace) == []


@pytest.mark.parametrize(("words", "extra"), [(("--search", "optuna"), "search"), (("--on", "ray"), "ray")])
def test_what_is_not_installed_is_named(
    sweep: Any, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], extra: str
) -> None:
    monkeypatch.setitem(sys.modules, words[1], None)
    error = sweep("pretrain", *SMALL, "trainer.epochs=1,2", *words, code=2)
    assert error["hint"] == f"pip install 'userrep[{extra}]'"


def test_a_dry_run_lists_the_commands_and_touches_nothing(sweep: Any, workplace: Path) -> None:
    answer = sweep("pretrain", *SMALL, "trainer.epochs=1,2", "--seed", "3,4", "--run", "runs/grid", "--dry-run")
    assert answer["dry_run"] is True
    assert [trial["name"] for trial in answer["trials"]] == ["epochs1-s3", "epochs1-s4", "epochs2-s3", "epochs2-s4"]
    assert answer["trials"][1]["run"] == "runs/grid/epochs1-s4"
    assert "trainer.epochs=2 --seed 3" in answer["trials"][2]["command"]
    assert os.listdir(workplace) == []


def test_a_trial_is_an_ordinary_command_a_failure_stays_alone_and_the_rest_is_not_done_again(sweep: Any) -> None:
    words = ("baseline", "majority", "dataset=synthetic", "task=gender,occupation", "--jobs", "2")
    first = sweep(*words, code=6)
    good, bad = first["trials"]
    assert first["counts"] == {"finished": 1, "pruned": 0, "failed": 1, "skipped": 0}
    assert (good["values"], good["status"]) == ({"task": "gender"}, "finished")
    assert good["run"].startswith("runs/baseline/synthetic-majority-gender-s0-")
    assert good["answer"]["metrics"]["accuracy"] > 0
    assert json.loads(Path(good["log"]).with_name("answer.json").read_text()) == good["answer"]
    assert (bad["status"], bad["exit_code"], bad["answer"]) == ("failed", 3, None)
    assert "no label 'occupation'" in bad["error"]
    assert "no label 'occupation'" in Path(bad["log"]).read_text()
    written = (Path(good["run"]) / "run.json").stat().st_mtime_ns
    again = sweep(*words, code=6)
    assert (Path(good["run"]) / "run.json").stat().st_mtime_ns == written
    assert again["trials"][0] == good
    assert again["trials"][1]["seconds"] != bad["seconds"]


def test_lines_of_a_list_are_checked_though_their_base_is_still_to_come(
    sweep: Any, workplace: Path, prepared_data_dir: Path
) -> None:
    base = f"pretrain {' '.join(SMALL)} --run runs/base --data-dir {prepared_data_dir}\n"
    (workplace / "list.txt").write_text(f"{base}transfer --from runs/base --method hed task=age\n")
    error = sweep("--file", "list.txt", code=2)
    assert "trial line 2: transfer: unknown method 'hed'" in error["message"]
    (workplace / "list.txt").write_text(f"{base}transfer --from runs/base --method head model=nextitnet task=age\n")
    answer = sweep("--file", "list.txt", "--dry-run")
    assert [trial["run"] for trial in answer["trials"]] == ["runs/base", None]
    assert os.listdir(workplace) == ["list.txt"]


def test_the_base_that_was_chosen_is_named_in_every_command(sweep: Any, succeed: Any, workplace: Path) -> None:
    succeed("pretrain", *SMALL, "trainer.epochs=1", "--run", "runs/base")
    answer = sweep("transfer", "--method", "head,full", "task=age", "--dry-run")
    assert all("--from runs/base" in trial["command"] for trial in answer["trials"])


@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_ends_as_if_nothing_had_happened(
    workplace: Path, prepared_data_dir: Path, sweep: Any
) -> None:
    words = ("pretrain", *SMALL, "trainer.epochs=30", "trainer.checkpoint_seconds=0.2", "--seed", "0,1", "--jobs", "2")
    command = [sys.executable, "-m", "userrep", "sweep", *words, "--data-dir", str(prepared_data_dir)]
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(list(workplace.glob("runs/pretrain/*/checkpoint.pt"))) < 2:
        assert parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    resumed = sweep(*words)
    assert resumed["counts"]["finished"] == 2
    alone = sweep(*words, "--run", "alone")
    for left, right in zip(resumed["trials"], alone["trials"], strict=True):
        assert left["answer"]["metrics"] == right["answer"]["metrics"]
        weights = [(Path(trial["run"]) / "model.safetensors").read_bytes() for trial in (left, right)]
        assert weights[0] == weights[1]


@pytest.mark.slow
def test_a_search_is_by_validation_and_goes_on(sweep: Any, workplace: Path) -> None:
    pytest.importorskip("optuna", reason="needs the extra `search`")
    words = ("pretrain", *SMALL, "trainer.lr=log:1e-4:1e-1", "trainer.epochs=1", "--search", "optuna", "--jobs", "2")
    first = sweep(*words, "--trials", "2")
    more = sweep(*words, "--trials", "3")
    assert (len(first["trials"]), len(more["trials"])) == (2, 1)
    best = more["search"]["best"]
    record = json.loads((Path(best["run"]) / "run.json").read_text())
    assert record["metrics"][more["search"]["metric"]] == best["value"]
    assert 1e-4 <= best["values"]["trainer.lr"] <= 1e-1


@pytest.mark.slow
def test_a_ray_cluster_of_two_workers_runs_the_same_trials(
    sweep: Any, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="needs the extra `ray`")
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 100_000_000}
    try:
        cluster = Cluster(initialize_head=True, head_node_args=small | {"include_dashboard": False})
        cluster.add_node(**small)
    except Exception as error:  # Ray gives its own start 30 seconds, which a crowded machine may not have
        pytest.skip(f"Ray itself does not start here: {error}")
    try:
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        words = ("baseline", "majority", "dataset=synthetic", "task=gender,age,occupation")
        answer = sweep(*words, "--on", "ray", code=6)
    finally:
        cluster.shutdown()
    assert [trial["status"] for trial in answer["trials"]] == ["finished", "finished", "failed"]
    assert "no label 'occupation'" in answer["trials"][2]["error"]
    assert sweep(*words, code=6)["trials"][0]["seconds"] == answer["trials"][0]["seconds"], "one ledger for both"

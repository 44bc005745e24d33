"""The verbs in a row, as a user types them, on generated data."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import userrep as package
from userrep.run import open_run

SMALL = ("model.width=16", "model.dilations=[1]", "trainer.epochs=1", "trainer.batch_size=64")


@pytest.fixture
def small(userrep: Any, prepared_data_dir: Path) -> Any:
    """Run a verb on the prepared data set."""

    def run(*words: str) -> Any:
        return userrep(*words, "--data-dir", str(prepared_data_dir), "--json")

    return run


def test_bare_transfer_takes_the_newest_base_and_the_first_task(small: Any, workplace: Path) -> None:
    base = small("pretrain", "dataset=synthetic", *SMALL)
    assert base.code == 0, base.err
    assert base.answer["run"].startswith("runs/pretrain/synthetic-nextitnet-s0-")
    planned = small("transfer", "--method", "peterrec", "trainer.epochs=1", "--dry-run").answer
    assert os.listdir(workplace / "runs") == ["pretrain"]
    child = small("transfer", "--method", "peterrec", "trainer.epochs=1")
    assert child.code == 0, child.err
    answer = child.answer
    assert answer["base"] == base.answer["run"]
    assert answer["run"] == planned["run"]
    assert (answer["method"], answer["task"]) == ("peterrec", "gender")
    assert {"verb", "run", "seconds", "trainable", "trainable_share", "delta_bytes", "metrics"} <= set(answer)
    assert answer["base"] in child.err
    assert not list(workplace.glob("runs/**/checkpoint.pt"))

    again = small("transfer", "--method", "peterrec", "trainer.epochs=1")
    assert again.code == 0
    assert "already finished" in again.err
    assert {key: again.answer[key] for key in ("run", "metrics")} == {key: answer[key] for key in ("run", "metrics")}


def test_another_config_in_the_same_folder_is_refused_and_fresh_starts_over(small: Any, workplace: Path) -> None:
    words = ("pretrain", "dataset=synthetic", *SMALL, "--run", "runs/base")
    assert small(*words).code == 0
    told = small(*words, "trainer.lr=0.5")
    assert told.code == 2
    assert "trainer.lr 0.001 -> 0.5" in told.error["message"]
    assert "--fresh" in told.error["hint"]
    assert small(*words, "trainer.lr=0.01", "--fresh").code == 0
    assert open_run(workplace / "runs/base").config["trainer"]["lr"] == 0.01


def test_a_base_that_changed_or_broke_is_exit_5(small: Any, workplace: Path) -> None:
    words = ("pretrain", "dataset=synthetic", *SMALL, "--run", "runs/base")
    small(*words)
    assert small("transfer", "--from", "runs/base", "trainer.epochs=1", "--run", "runs/child").code == 0
    small(*words, "seed=1", "--fresh")
    told = small("transfer", "--from", "runs/child", "--task", "age", "trainer.epochs=1", "--run", "runs/grandchild")
    assert told.code == 5
    assert told.error["kind"] == "verification"
    weights = workplace / "runs/base/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    told = small("transfer", "--from", "runs/base", "trainer.epochs=1", "--run", "runs/other")
    assert told.code == 5
    assert not (workplace / "runs/other").exists()


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_a_signal_in_training_ends_it_resumably(
    small: Any, workplace: Path, prepared_data_dir: Path, signum: int, code: int
) -> None:
    words = ["pretrain", "dataset=synthetic", *SMALL, "trainer.epochs=25", "trainer.patience=0", "--run", "runs/base"]
    process = subprocess.Popen(
        [sys.executable, "-m", "userrep", *words, "--data-dir", str(prepared_data_dir)],
        cwd=workplace, env=os.environ | {"PYTHONPATH": str(Path(package.__file__).parent.parent)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not (workplace / "runs/base/log.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signum)
        _, shown = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code
    assert "interrupted by" in shown
    assert "same command" in shown
    assert "Traceback" not in shown
    assert (workplace / "runs/base/checkpoint.pt").exists()
    if signum == signal.SIGTERM:
        command = "userrep pretrain --resume --run runs/base"
        assert small("transfer", "--from", "runs/base").error["hint"] == command
        assert small("evaluate", "runs/base").error["hint"] == command
        told = small(*command.split()[1:])
        assert told.code == 0
        assert re.search(r"going on: phase train, epoch \d+, step \d+, after \d+ updates", told.err)
        assert open_run(workplace / "runs/base").finished


def test_a_base_and_its_child_may_hold_out_any_fold(small: Any) -> None:
    base = small("pretrain", "dataset=synthetic", "protocol.fold=3", *SMALL, "--run", "runs/fold3")
    assert base.code == 0, base.err
    child = small("transfer", "--method", "head", "--from", "runs/fold3", "task=age", "trainer.epochs=1")
    assert child.code == 0, child.err
    assert child.answer["test_users_seen"] == 0.0
    assert open_run(child.answer["run"]).config["protocol"]["fold"] == 3


def test_children_of_two_bases_have_folders_of_their_own(small: Any) -> None:
    words = ("transfer", "--method", "head", "task=age", "trainer.epochs=1")
    folders = set()
    for seed in ("1", "2"):
        base = small("pretrain", "dataset=synthetic", "--seed", seed, *SMALL, "--run", f"runs/seed{seed}")
        assert base.code == 0, base.err
        child = small(*words, "--from", f"runs/seed{seed}")
        assert child.code == 0, child.err
        folders.add(child.answer["run"])
    assert len(folders) == 2

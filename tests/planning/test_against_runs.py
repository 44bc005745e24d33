"""A plan against the run that it is of: peak memory and seconds of processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHILD = Path(__file__).parent / "child.py"
MEMORY, TIME = 1.5, 3.0  # factors, both ways: heaps fragment, and other work comes and goes between plan and run
USERS = ("dataset=synthetic", "dataset.n_users=800", "dataset.min_length=20", "dataset.max_length=80")
FEW, MANY = (*USERS, "dataset.n_items=5000"), (*USERS, "dataset.n_items=90000")
BASE = ("pretrain", *FEW, "model=sasrec", "trainer.epochs=2", "objective.loss=full")
TABLE = ("pretrain", *MANY, "trainer.epochs=2", "model.dilations=[1,4]", "objective.loss=sampled")
TRANSFER = ("transfer", "--method", "peterrec", "--from", "runs/0", "task=gender", "trainer.epochs=4")
RUNS = (BASE, TABLE, TRANSFER)


def alone(folder: Path, *words: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run a command line in a process of its own; return its JSON answer, if it gives one, and what it took."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, str(CHILD), *words], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    took = json.loads(done.stderr.splitlines()[-1])
    assert not took["code"], done.stderr
    return json.loads(done.stdout) if "--json" in words else {}, took


def compared(folder: Path, place: int, words: tuple[str, ...]) -> dict[str, float]:
    """Plan a run, run it, and return what was predicted and what was measured; bytes above a process's start."""
    planned, _ = alone(folder, "plan", *words, "--json")
    _, took = alone(folder, *words, "--run", f"runs/{place}")
    return {
        "predicted_bytes": planned["memory"]["bytes"] - took["start"], "measured_bytes": took["peak"] - took["start"],
        "predicted_seconds": planned["time"]["seconds"], "measured_seconds": took["seconds"],
        "low": planned["time"]["low"], "high": planned["time"]["high"],
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_peak_memory_and_time_of_three_runs_are_near_what_was_planned(tmp_path: Path) -> None:
    for data in (FEW, MANY):
        alone(tmp_path, "preprocess", *data)
    found = [compared(tmp_path, place, words) for place, words in enumerate(RUNS)]
    print(json.dumps(found, indent=1))
    for one in found:
        assert 1 / MEMORY < one["predicted_bytes"] / one["measured_bytes"] < MEMORY, found
        assert 1 / TIME < one["predicted_seconds"] / one["measured_seconds"] < TIME, found

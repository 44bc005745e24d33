"""Two processes that train one model: what one process would have learned, one run folder, and no orphan."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file

from userrep import team
from userrep.errors import UsageError
from userrep.evaluation.results import Result
from userrep.sequences.protocol import Protocol
from userrep.stages.training import choose_device, enlist
from userrep.training.validation import evaluated

SMALL = (
    "pretrain", "dataset=synthetic", "model.width=16", "model.dilations=[1,2]", "model.dropout=0", "trainer.epochs=2",
    "trainer.batch_size=32", "trainer.patience=0", "objective=next_item_sampled", "objective.negatives=16",
    "trainer.tables=lazy",
)  # fmt: skip
pytestmark = pytest.mark.timeout(400)


def log_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "how",
    [(), ("trainer.shard_tables=true", "objective.tied=false", "trainer.checkpoint_seconds=0", "trainer.clip=0.1")],
    ids=["replicated", "sharded"],
)
def test_two_processes_learn_what_one_does_and_leave_one_run(
    userrep: Any, workplace: Path, prepared_data_dir: Path, how: tuple[str, ...]
) -> None:
    words = (*SMALL, *how, "--data-dir", str(prepared_data_dir))
    assert userrep(*words, "--run", "one").code == 0
    done = subprocess.run(
        [sys.executable, "-m", "userrep", *words, "--run", "two", "trainer.devices=2", "--json"], cwd=workplace,
        capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"] == "two"
    one, two = (load_file(workplace / run / "model.safetensors") for run in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-4)
    for mine, theirs in zip(log_of(workplace / "two"), log_of(workplace / "one"), strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
        assert mine["ndcg@10"] == pytest.approx(theirs["ndcg@10"], abs=0.02)
    files = [{file.name for file in (workplace / run).iterdir()} for run in ("one", "two")]
    assert files[0] == files[1]
    again = userrep(*words, "--run", "two")  # with one device: the number is no part of what was asked for
    assert again.code == 0
    assert "already finished" in again.out + again.err


@pytest.mark.slow
def test_when_one_process_dies_the_others_stop_and_one_device_goes_on(
    userrep: Any, workplace: Path, prepared_data_dir: Path
) -> None:
    words = (*SMALL, "--data-dir", str(prepared_data_dir), "--run", "lost", "trainer.checkpoint_seconds=0")
    long = (*words, "trainer.epochs=40")
    child = subprocess.Popen(
        [sys.executable, "-m", "userrep", *long, "trainer.devices=2"], cwd=workplace, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert child.stderr is not None
    wait_for(lambda: (workplace / "lost" / "checkpoint.pt").exists())
    second = [pid for pid in children_of(child.pid) if rank_of(pid) == "1"]
    os.kill(second[0], signal.SIGKILL)
    err = child.communicate(timeout=120)[1]
    assert child.returncode not in (0, None), err
    assert "another process of the team is gone" in err
    assert "Traceback" not in err
    assert torch.load(workplace / "lost" / "checkpoint.pt", weights_only=True)["position"]["updates"] > 0
    told = userrep(*long)
    assert told.code == 0, told.err
    assert "going on" in told.out + told.err


def wait_for(reached: Any, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def rank_of(pid: int) -> str:
    told = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next((word.removeprefix(b"RANK=").decode() for word in told if word.startswith(b"RANK=")), "")


def test_more_devices_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="there are 2 cores"):
        enlist({"devices": 3})
    enlist({"devices": 1})
    enlist({})


@pytest.mark.parametrize(
    ("lead", "other", "code", "told"),
    [
        (2, 2, 2, "0"),  # a mistake that both of them meet is told once
        (1, 3, 3, "01"),  # the leader lost the other, which knows why
        (0, 3, 3, "01"),
        ("kill", 3, 3, "01"),  # it hung, and was ended
        (0, 0, 0, "0"),
    ],
)
def test_what_went_wrong_is_told_by_the_process_that_knows_why(
    lead: int | str, other: int, code: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    process = tmp_path / "process"
    end = "exec sleep 60" if lead == "kill" else f"sleep 0.5\nexit {lead}"
    process.write_text(f"#!/bin/sh\necho $RANK >&2\n[ $RANK = 1 ] && exit {other}\n{end}\n")
    process.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(process))
    monkeypatch.setattr(team, "GRACE", 1.0)
    with pytest.raises(team.Handed) as ended:
        team.launch(2)
    assert ended.value.exit_code == code
    assert "".join(capfd.readouterr().err.split()) == told


def test_each_process_of_a_team_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 1)
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("group", "name"), [("objective", "next_item"), ("task", "age"), ("task", "cold_k"),
                                             ("task", "joint_ml")])  # fmt: skip
def test_an_evaluation_in_shares_is_the_evaluation_of_all(
    group: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = Protocol(history=tiny.STEPS, readout="mean")
    objective, encoder = tiny.objective(group, name), tiny.encoder("nextitnet_paper")
    objective.setup(encoder, tiny.data(), protocol)
    whole = objective.evaluate(encoder, tiny.data(), protocol, "valid")
    monkeypatch.setattr(team, "size", lambda: 2)
    told: list[torch.Tensor] = []

    def second(value: torch.Tensor) -> list[torch.Tensor]:
        told.append(value)
        return [value]

    def run(rank: int, gather: Any) -> Result:
        monkeypatch.setattr(team, "rank", lambda: rank)
        monkeypatch.setattr(team, "gather_rows", gather)
        return evaluated(objective, encoder, tiny.data(), protocol, "valid", None)

    run(1, second)
    theirs = iter(told)
    both = run(0, lambda value: [value, next(theirs)])
    assert both.metrics() == whole.metrics()
    for column, values in whole.table().items():
        np.testing.assert_array_equal(both.table()[column], values, err_msg=column)

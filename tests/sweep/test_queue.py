"""The queue, with stubs for trials: failures stay alone, what is done is not done again, signals stop gently."""

import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from stubs import noted, stub_trial, stub_trials, worked

from userrep.errors import Interrupted
from userrep.signals import graceful
from userrep.sweep.launch import Local
from userrep.sweep.ledger import Ledger, Outcome
from userrep.sweep.queue import Listed, Queue
from userrep.sweep.slots import gpu_slots, processor_slots, with_threads
from userrep.sweep.trial import Trial


def statuses(queue: Queue) -> dict[str, str]:
    return {trial.name: outcome.status for trial, outcome in queue.outcomes.values()}


def test_a_failure_stays_alone_and_says_why(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    trials = [stub_trial(notes, "a"), stub_trial(notes, "b", code=3), stub_trial(notes, "c")]
    queue = worked(trials, tmp_path / "sweep")
    assert statuses(queue) == {"a": "finished", "b": "failed", "c": "finished"}
    _, failed = queue.outcomes[trials[1].key]
    assert (failed.exit_code, failed.error) == (3, "the disk is full")
    record = json.loads((tmp_path / "sweep" / trials[1].folder / "trial.json").read_text())
    assert (record["status"], record["error"]) == ("failed", "the disk is full")
    assert queue.outcomes[trials[0].key][1].answer == {"verb": "stub", "run": None, "name": "a"}
    assert (tmp_path / "sweep" / trials[0].folder / "log.txt").read_text() == "working\n"


def test_a_program_that_answers_nothing_has_failed(tmp_path: Path) -> None:
    trials = stub_trials(tmp_path / "notes", 1)
    for code in (0, 1):
        shell = ("bash", "-c", f"echo last words >&2; exit {code}")
        queue = Queue(Listed(trials), Ledger(tmp_path / "sweep", trials), Local(processor_slots(1), shell))
        with graceful() as stop:
            queue.run(stop)
        assert [(outcome.status, outcome.error) for _, outcome in queue.outcomes.values()] == [("failed", "last words")]


def test_what_is_finished_is_not_run_again_and_what_failed_is(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    trials = [stub_trial(notes, "a"), stub_trial(notes, "b", code=4)]
    worked(trials, tmp_path / "sweep")
    queue = worked(trials, tmp_path / "sweep")
    assert noted(notes) == ["a", "b", "b"]
    assert queue.outcomes[trials[0].key][1].before
    assert queue.outcomes[trials[0].key][1].answer == {"verb": "stub", "run": None, "name": "a"}
    worked(trials, tmp_path / "sweep", fresh=True)
    assert noted(notes) == ["a", "b", "b", "a", "b"]


def test_a_trial_whose_run_is_gone_or_means_another_config_is_run_again(tmp_path: Path) -> None:
    trial = replace(stub_trials(tmp_path / "notes", 1)[0], config="one")
    run = tmp_path / "run"
    Ledger(tmp_path / "sweep").close(trial, Outcome("finished", 0, run=str(run)))
    assert Ledger(tmp_path / "sweep", [trial]).outcome(trial) is None
    run.mkdir()
    (run / "run.json").write_text("{}")
    found = Ledger(tmp_path / "sweep", [trial]).outcome(trial)
    assert found is not None
    assert found.before
    other = replace(trial, config="two")
    assert other.key == trial.key
    assert Ledger(tmp_path / "sweep", [other]).outcome(other) is None


def test_a_trial_is_run_again_where_a_run_that_it_names_was_made_again(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    trial = Trial(("evaluate", str(base), f"--export={tmp_path / 'copy'}"), "evaluate")
    for stamp, known in (("one", True), ("two", False)):
        (base / "run.json").write_text(json.dumps({"finished": "one"}))
        Ledger(tmp_path / "sweep").close(trial, Outcome("finished", 0))
        (base / "run.json").write_text(json.dumps({"finished": stamp}))
        assert (Ledger(tmp_path / "sweep", [trial]).outcome(trial) is not None) == known
    (base / "run.json").unlink()
    assert Ledger(tmp_path / "sweep", [trial]).outcome(trial) is None


def test_a_trial_waits_for_what_it_needs_and_is_skipped_where_that_failed(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    base, bad = stub_trial(notes, "base", seconds=0.3), stub_trial(notes, "bad", code=2)
    trials = [base, bad, stub_trial(notes, "child", needs=[base]), stub_trial(notes, "lost", needs=[bad])]
    queue = worked([*trials, stub_trial(notes, "more", needs=[trials[3]])], tmp_path / "sweep", slots=4)
    assert statuses(queue) == {
        "base": "finished", "bad": "failed", "child": "finished", "lost": "skipped", "more": "skipped",
    }  # fmt: skip
    lines = notes.read_text().splitlines()
    began = next(index for index, line in enumerate(lines) if line.startswith("began child"))
    assert "ended base" in lines[:began]
    assert queue.outcomes[trials[3].key][1].error == "it needs bad, which failed"


def test_slots_are_all_used_none_twice_and_say_their_device(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    slots = with_threads(gpu_slots("0,1", 2, ["5", "7"]), 8, {})
    worked(stub_trials(notes, 8, seconds=0.2), tmp_path / "sweep", slots)
    at_once = most = 0
    devices = []
    for line in notes.read_text().splitlines():
        at_once += {"began": 1, "ended": -1}[line.split()[0]]
        most = max(most, at_once)
        if line.startswith("began"):
            devices.append(line.split()[3])
            assert line.split()[4] in ("2", os.environ.get("OMP_NUM_THREADS"))
    assert most <= 4
    assert sorted(devices[:4]) == ["5", "5", "7", "7"]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_children_and_the_same_list_goes_on(tmp_path: Path, signum: int) -> None:
    notes = tmp_path / "notes"
    trials = [
        stub_trial(notes, "a"),
        stub_trial(notes, "b", 30),
        stub_trial(notes, "c", 30),
        stub_trial(notes, "d", 30),
    ]

    def interrupt() -> None:
        while len(noted(notes)) < 3:
            time.sleep(0.02)
        os.kill(os.getpid(), signum)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Interrupted) as stopped:
        worked(trials, tmp_path / "sweep", slots=2)
    thread.join()
    assert stopped.value.exit_code == 128 + signum
    assert sorted(noted(notes, "stopped")) == ["b", "c"]
    assert "d" not in noted(notes)
    short = [trials[0], *(stub_trial(notes, name) for name in "bcd")]
    assert set(statuses(worked(short, tmp_path / "sweep", slots=2)).values()) == {"finished"}
    assert noted(notes).count("a") == 1

"""Sharing: processes of their own work off one list, and no trial runs twice whatever dies."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from stubs import noted, stub_trial, stub_trials, worked

from userrep.sweep.claim import take
from userrep.sweep.ledger import Ledger

pytestmark = pytest.mark.timeout(600)  # on a busy machine; some ten seconds
PATIENCE = 300  # seconds after which a shell is taken to hang
TOP = Path(__file__).parent.parent.parent


def shell(folder: Path, count: int, seconds: float, slots: int = 1) -> "subprocess.Popen[str]":
    """Start another shell on the list of `count` stubs."""
    words = [str(folder / "sweep"), str(folder / "notes"), str(count), str(seconds), str(slots)]
    here = os.pathsep.join([str(TOP), str(Path(__file__).parent)])
    command = [sys.executable, str(Path(__file__).with_name("shell.py")), *words]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": here}, stdout=subprocess.PIPE, text=True)


def wait_until_begun(notes: Path, count: int = 1) -> None:
    ends = time.monotonic() + PATIENCE
    while len(noted(notes)) < count:
        assert time.monotonic() < ends, "nothing began"
        time.sleep(0.02)


def test_two_shells_share_a_list_and_run_each_trial_once(tmp_path: Path) -> None:
    shells = [shell(tmp_path, 12, 0.3) for _ in range(2)]
    told = [one.communicate(timeout=PATIENCE)[0].split() for one in shells]
    assert [one.returncode for one in shells] == [0, 0]
    began = noted(tmp_path / "notes")
    assert Counter(began) == {f"t{number}": 1 for number in range(12)}
    assert [known for known, _ in told] == ["12", "12"], "both waited until all had ended"
    assert sum(int(started) for _, started in told) == 12


def test_a_killed_parent_leaves_no_trial_to_run_twice_at_a_time(tmp_path: Path) -> None:
    """The child goes on and keeps its claim; who comes next waits for it, then runs what has no answer."""
    notes = tmp_path / "notes"
    first = shell(tmp_path, 2, 4.0)
    wait_until_begun(notes)
    first.send_signal(signal.SIGKILL)
    first.wait()
    trials = stub_trials(notes, 2, 4.0)
    assert take(tmp_path / "sweep" / trials[0].folder / ".claim") is None, "the orphan holds its claim"
    queue = worked(trials, tmp_path / "sweep", slots=2)
    assert {outcome.status for _, outcome in queue.outcomes.values()} == {"finished"}
    lines = [line.split()[:2] for line in notes.read_text().splitlines()]
    own = [what for what, name in lines if name == "t0"]
    assert own == ["began", "ended", "began", "ended"], "once by the orphan, once for its answer, never both at once"


def test_a_claim_of_the_dead_is_taken_over_at_once(tmp_path: Path) -> None:
    path = tmp_path / "claim"
    code = "import sys, time; from pathlib import Path; from userrep.sweep.claim import take; take(Path(sys.argv[1]))"
    code += "; print('taken', flush=True); time.sleep(60)"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(TOP)}
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    assert take(path) is None
    holder.kill()
    holder.wait()
    claim = take(path)
    assert claim is not None
    claim.release()


def test_what_failed_in_one_shell_is_not_tried_again_by_the_other_that_runs_with_it(tmp_path: Path) -> None:
    trial = stub_trial(tmp_path / "notes", "bad", code=3)
    other = Ledger(tmp_path / "sweep", [trial])  # began before
    worked([trial], tmp_path / "sweep")
    found = other.outcome(trial)
    assert found is not None
    assert found.status == "failed"
    assert Ledger(tmp_path / "sweep", [trial]).outcome(trial) is None, "who comes later tries it again"


def test_sigterm_to_a_shell_stops_its_children_and_another_goes_on(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    first = shell(tmp_path, 2, 60.0, slots=2)
    wait_until_begun(notes, 2)
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=PATIENCE) == 143
    assert sorted(noted(notes, "stopped")) == ["t0", "t1"]
    for trial in stub_trials(notes, 2, 60.0):
        claim = take(tmp_path / "sweep" / trial.folder / ".claim")
        assert claim is not None
        claim.release()

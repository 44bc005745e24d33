"""Lists of stand-ins for trials, and the queue that works them off."""

import sys
from collections.abc import Sequence
from pathlib import Path

from userrep.signals import graceful
from userrep.sweep.claim import Claim
from userrep.sweep.launch import Child, Local
from userrep.sweep.ledger import Ledger
from userrep.sweep.queue import Listed, Queue
from userrep.sweep.slots import Slot, processor_slots
from userrep.sweep.trial import Trial

STUB = (sys.executable, str(Path(__file__).with_name("stub.py")))


class Counted(Local):
    """Local children, counted."""

    started = 0

    def start(self, words: Sequence[str], place: Path, claim: Claim) -> Child:
        self.started += 1
        return super().start(words, place, claim)


def stub_trial(notes: Path, name: str, seconds: float = 0.0, code: int = 0, needs: Sequence[Trial] = ()) -> Trial:
    words = (str(notes), str(seconds), str(code), name)
    return Trial(words, name, needs=tuple(trial.key for trial in needs))


def stub_trials(notes: Path, count: int, seconds: float = 0.0) -> list[Trial]:
    return [stub_trial(notes, f"t{number}", seconds) for number in range(count)]


def worked(trials: Sequence[Trial], folder: Path, slots: int | Sequence[Slot] = 1, fresh: bool = False) -> Queue:
    places = processor_slots(slots) if isinstance(slots, int) else slots
    queue = Queue(Listed(trials), Ledger(folder, trials, fresh), Counted(places, STUB))
    with graceful() as stop:
        queue.run(stop)
    return queue


def noted(notes: Path, what: str = "began") -> list[str]:
    """Return the names of the stubs that began, ended or were stopped, in order."""
    lines = notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []
    return [line.split()[1] for line in lines if line.startswith(f"{what} ")]

"""The queue: trials are claimed, started, watched and written down, until none is left."""

import signal
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from userrep import console
from userrep.errors import UserRepError
from userrep.signals import Stop
from userrep.sweep.claim import Claim
from userrep.sweep.launch import Child, Launcher
from userrep.sweep.ledger import Ledger, Outcome
from userrep.sweep.trial import Trial

POLL = 0.1  # seconds between two looks at the children
LOOK = 1.0  # seconds between two looks at what others have claimed, and at what children have logged


class Source(Protocol):
    """Where trials come from."""

    def offer(self, running: Collection[str], room: bool) -> Sequence[Trial]:
        """Return trials that may begin now, in order, without those that run; what is not taken is offered again."""

    def doomed(self) -> Sequence[tuple[Trial, Outcome]]:
        """Return trials that will never begin, and why."""

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """Hear how a trial ended, here, elsewhere or before."""

    def hopeless(self, trial: Trial) -> bool:
        """Say whether a trial that runs is to be stopped for good."""

    def over(self) -> bool:
        """Say whether nothing more will be offered once all that run have ended."""


@dataclass
class Running:
    """A trial with its child."""

    trial: Trial
    child: Child
    claim: Claim
    began: float = field(default_factory=time.monotonic)
    pruned: bool = False

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return round(time.monotonic() - self.began, 3)


class Listed:
    """A fixed list of trials; one waits for those that it needs, and is skipped where one of them failed."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._waiting = {trial.key: trial for trial in trials}
        self._outcomes: dict[str, Outcome] = {}
        self.names = {trial.key: trial.name for trial in trials}

    def offer(self, running: Collection[str], room: bool) -> list[Trial]:
        """Return the trials whose needs are met."""
        waiting = (trial for key, trial in self._waiting.items() if key not in running)
        return [trial for trial in waiting if all(self._done(key) for key in trial.needs)]

    def doomed(self) -> list[tuple[Trial, Outcome]]:
        """Return the trials that need one that failed."""
        found = []
        for trial in self._waiting.values():
            bad = [key for key in trial.needs if key in self._outcomes and not self._done(key)]
            if bad:
                found.append((trial, Outcome("skipped", error=f"it needs {self.names[bad[0]]}, which failed")))
        return found

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """Remember the outcome."""
        self._waiting.pop(trial.key, None)
        self._outcomes[trial.key] = outcome

    def hopeless(self, trial: Trial) -> bool:
        """Say no: a list is worked off."""
        return False

    def over(self) -> bool:
        """Say whether all have ended."""
        return not self._waiting

    def _done(self, key: str) -> bool:
        return key in self._outcomes and self._outcomes[key].status == "finished"


class Queue:
    """Work off a source: at most as many trials at once as the launcher has room for, each once whoever shares it."""

    def __init__(
        self, source: Source, ledger: Ledger, launcher: Launcher, tell: Callable[["Queue"], None] = lambda queue: None
    ) -> None:
        self.source, self.ledger, self.launcher, self._tell = source, ledger, launcher, tell
        self.running: dict[str, Running] = {}
        self.elsewhere: dict[str, Trial] = {}
        self.outcomes: dict[str, tuple[Trial, Outcome]] = {}
        self._looked = 0.0

    def run(self, stop: Stop) -> None:
        """Run all trials.

        Raises:
            Interrupted: a signal arrived; the children have written their checkpoints, and the same command goes on.
        """
        try:
            self._work(stop)
        except BaseException:
            for one in self.running.values():  # after a second signal, or a fault of ours: nothing is left behind
                one.child.kill()
                one.claim.release()
            raise

    def _work(self, stop: Stop) -> None:
        try:
            while self.running or not self.source.over():
                stop.check()
                self._step()
                self._tell(self)
                time.sleep(POLL)
        except UserRepError:
            self._wind_up()
            raise
        self._tell(self)

    def _step(self) -> None:
        self._collect()
        due = time.monotonic() - self._looked >= LOOK
        if due:
            self._looked = time.monotonic()
            self._prune()
        if due or self.launcher.free():
            self._start(due)

    def _start(self, due: bool) -> None:
        """Begin what may begin; what others have claimed is asked after now and then."""
        for trial, outcome in self.source.doomed():
            self._end(trial, outcome)
        for trial in self.source.offer(self.running, self.launcher.free()):
            if trial.key in self.elsewhere and not due:
                continue
            if not self.launcher.free() and not due:
                return
            self._consider(trial)

    def _consider(self, trial: Trial) -> None:
        """Take the outcome of a trial that has one, whoever ran it; else begin it where there is room."""
        outcome = self.ledger.outcome(trial)
        if outcome is None and self.launcher.free():
            outcome = self._begin(trial)
        if outcome is not None:
            self.elsewhere.pop(trial.key, None)
            self._end(trial, outcome)

    def _begin(self, trial: Trial) -> Outcome | None:
        """Claim and start a trial; return its outcome where it came to its end just before the claim."""
        claim = self.ledger.claim(trial)
        if claim is None:
            self.elsewhere[trial.key] = trial
            return None
        self.elsewhere.pop(trial.key, None)
        try:
            outcome = self.ledger.outcome(trial)
            if outcome is None:
                child = self.launcher.start(trial.words, self.ledger.place(trial), claim)
                self.running[trial.key] = Running(trial, child, claim)
                return None
        except BaseException:
            claim.release()
            raise
        claim.release()
        return outcome

    def _collect(self) -> None:
        for key, one in list(self.running.items()):
            code = one.child.poll()
            if code is None:
                continue
            del self.running[key]
            outcome = self._told(one, code)
            self.ledger.close(one.trial, outcome)
            one.claim.release()  # after the record: whoever takes the claim next finds it
            self._end(one.trial, outcome)

    def _told(self, one: Running, code: int) -> Outcome:
        answer = self.ledger.answer(one.trial) or {}
        run = str(answer.get("run") or one.trial.run or "") or None
        if one.pruned and code:
            return Outcome("pruned", code, None, one.seconds, run)
        if code == 0 and answer:
            return Outcome("finished", 0, None, one.seconds, answer.get("run"), answer)
        return Outcome("failed", code, self._error(one.trial, answer, code), one.seconds, run)

    def _error(self, trial: Trial, answer: dict[str, object], code: int) -> str:
        """Return the line that says why a trial failed: of its answer, of the signal that killed it, or of its log."""
        told = answer.get("error")
        if isinstance(told, dict) and told.get("message"):
            return " ".join(str(told["message"]).split())
        if code < 0:
            name = signal.Signals(-code).name
            return f"killed by {name}{': was the memory full?' if name == 'SIGKILL' else ''}"
        return self.ledger.last_line(trial) or f"it ended with exit code {code} and said nothing"

    def _end(self, trial: Trial, outcome: Outcome) -> None:
        self.outcomes[trial.key] = (trial, outcome)
        self.source.ended(trial, outcome)

    def _prune(self) -> None:
        for one in self.running.values():
            if not one.pruned and self.source.hopeless(one.trial):
                one.pruned = True
                one.child.stop()

    def _wind_up(self) -> None:
        """Stop all children and wait until they have written what they need to go on."""
        if self.running:
            console.note(f"stopping {len(self.running)} trial(s), each writes a checkpoint; a second signal kills them")
        for one in self.running.values():
            one.child.stop()
        while self.running:
            for key, one in list(self.running.items()):
                code = one.child.poll()
                if code is None:
                    continue
                del self.running[key]
                if code == 0 and not one.pruned:  # it came to its end at this moment
                    outcome = self._told(one, code)
                    self.ledger.close(one.trial, outcome)
                    self._end(one.trial, outcome)
                one.claim.release()
            time.sleep(POLL / 4)

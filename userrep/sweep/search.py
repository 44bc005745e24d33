"""Search: Optuna proposes trials one by one from how the earlier ones did on validation."""

import json
import math
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from userrep.errors import ConfigError, DataError, UsageError, UserRepError
from userrep.files import read_json
from userrep.sweep.claim import Claim, take
from userrep.sweep.ledger import RUN_RECORD, Outcome
from userrep.sweep.space import Space
from userrep.sweep.trial import Trial

if TYPE_CHECKING:
    import optuna

JOURNAL, LOCK, MEMBERS, LOG = "journal.log", "search.lock", "members", "log.jsonl"
NAME = "userrep"
LOOK = 1.0  # seconds between two looks at what other processes have told
PRUNERS = ("median", "halving", "none")


@dataclass(frozen=True)
class Aim:
    """What a search is after: a validation metric, its direction, how many trials in all, how they are proposed."""

    metric: str
    maximise: bool
    trials: int
    seed: int = 0
    pruner: str = "median"


class Search:
    """The source of a search; several processes may ask the same study, kept in a journal file in `folder`.

    A trial whose process died is proposed again with the same values, and so goes on from its checkpoint.

    Raises:
        UsageError: Optuna is not there, or the folder holds another search.
    """

    def __init__(self, space: Space, aim: Aim, folder: Path, make: Callable[[Trial], Trial]) -> None:
        self.space, self.aim, self.folder, self._make = space, aim, folder, make
        self.optuna = _optuna()
        self._member = secrets.token_hex(4)
        self._alive: Claim | None = take(folder / MEMBERS / self._member)
        self.study = self._open()
        self._asked: dict[str, tuple[Trial, list[optuna.Trial]]] = {}
        self._reported: dict[str, int] = {}
        self._over, self._looked, self._pause = False, 0.0, 0.0

    def offer(self, running: Collection[str], room: bool) -> list[Trial]:
        """Return what was proposed and has not begun; where there is nothing and room, one more."""
        waiting = [trial for key, (trial, _) in self._asked.items() if key not in running]
        if waiting or not room or self.over() or time.monotonic() < self._pause:
            return waiting
        with self._locked():
            found = self._ask()
        self._pause = 0.0 if found else time.monotonic() + LOOK  # others are at the last ones, or it could not work
        return found

    def doomed(self) -> list[tuple[Trial, Outcome]]:
        """Return nothing: no trial of a search needs another."""
        return []

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """Tell the study how a trial did on validation."""
        for asked in self._asked.pop(trial.key, (trial, []))[1]:
            self._tell(asked, outcome)
        self._looked = self._pause = 0.0

    def hopeless(self, trial: Trial) -> bool:
        """Report what the run of a trial has logged since, and say whether the pruner gives it up."""
        if trial.run is None or trial.key not in self._asked:
            return False
        asked = self._asked[trial.key][1]
        values = list(logged(trial.run / LOG, self.aim.metric))
        known = self._reported.get(trial.key, 0)
        for step, value in enumerate(values[known:], start=known):
            for one in asked:
                one.report(value, step)
        self._reported[trial.key] = max(known, len(values))
        return len(values) > known and all(one.should_prune() for one in asked)

    def over(self) -> bool:
        """Say whether all trials have been told, here or by another process."""
        if not self._over and time.monotonic() - self._looked >= LOOK:
            self._looked = time.monotonic()
            self._over = len(self._told()) >= self.aim.trials
        return self._over

    @property
    def told(self) -> int:
        """How many trials have ended, whoever ran them."""
        return len(self._told())

    def best(self) -> "optuna.trial.FrozenTrial | None":
        """Return the best trial that came to its end."""
        complete = self.study.get_trials(deepcopy=False, states=[self.optuna.trial.TrialState.COMPLETE])
        return self.study.best_trial if complete else None

    def _ask(self) -> list[Trial]:
        """Propose a trial where fewer were begun than were asked for; the lock of the study is held."""
        self._recover()
        states = self.optuna.trial.TrialState
        running = self.study.get_trials(deepcopy=False, states=[states.RUNNING])
        if len(self._told()) + len(running) >= self.aim.trials:
            return []
        number = len(self.study.get_trials(deepcopy=False))
        # Seeded by its number, so that what is proposed hangs on the history alone, not on how often we began anew.
        self.study.sampler = self.optuna.samplers.TPESampler(seed=self.aim.seed * 1_000_003 + number)
        asked = self.study.ask({key: one.distribution() for key, one in self.space.dimensions.items()})
        asked.set_user_attr("member", self._member)
        values = {key: str(value) for key, value in asked.params.items()}
        trial = Trial(self.space.words(asked.params), f"trial {asked.number}", values)
        try:
            trial = self._make(trial)
        except UserRepError as error:  # two values that do not go together
            self._fail(asked, error.message)
            return []
        _, others = self._asked.setdefault(trial.key, (trial, []))
        others.append(asked)
        return [trial] if len(others) == 1 else []

    def _recover(self) -> None:
        """Propose again what was left by a process that is no more."""
        states = self.optuna.trial.TrialState
        for left in self.study.get_trials(deepcopy=False, states=[states.RUNNING]):
            member = left.user_attrs.get("member")
            if member == self._member:
                continue
            claim = take(self.folder / MEMBERS / str(member)) if member else None
            if member and claim is None:
                continue
            self.study.enqueue_trial(dict(left.params), user_attrs={"again": left.number})
            self.study.tell(left.number, state=states.FAIL)
            if claim is not None:
                claim.release()

    def _tell(self, asked: "optuna.Trial", outcome: Outcome) -> None:
        asked.set_user_attr("run", outcome.run)
        if outcome.status == "pruned":
            self.study.tell(asked, state=self.optuna.trial.TrialState.PRUNED)
        elif outcome.status == "finished":
            value = validated(outcome.run, self.aim.metric)
            if value is None:
                self._fail(asked, f"its run has no validation metric {self.aim.metric}")
            else:
                self.study.tell(asked, value)
        else:
            self._fail(asked, outcome.error or outcome.status)

    def _fail(self, asked: "optuna.Trial", why: str) -> None:
        asked.set_user_attr("error", why)
        self.study.tell(asked, state=self.optuna.trial.TrialState.FAIL)

    def _told(self) -> "list[optuna.trial.FrozenTrial]":
        """Return the trials that have ended; those that were given up by a process that died are not among them."""
        states = self.optuna.trial.TrialState
        ended = (states.COMPLETE, states.PRUNED, states.FAIL)
        found = self.study.get_trials(deepcopy=False, states=ended)
        return [trial for trial in found if trial.state != states.FAIL or "error" in trial.user_attrs]

    def _open(self) -> "optuna.Study":
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        optuna = self.optuna
        path = str(self.folder / JOURNAL)
        with self._locked():
            lock = JournalFileOpenLock(path)  # works where symbolic links do not
            study = optuna.create_study(
                storage=optuna.storages.JournalStorage(JournalFileBackend(path, lock_obj=lock)),
                study_name=NAME, direction="maximize" if self.aim.maximise else "minimize", load_if_exists=True,
                pruner=_pruner(optuna, self.aim.pruner),
            )  # fmt: skip
            asked = {"command": list(self.space.words({})), "metric": self.aim.metric}
            held = study.user_attrs.get("asked")
            if held is None:
                study.set_user_attr("asked", asked)
            elif held != asked:
                raise UsageError(
                    f"{self.folder} holds another search, by {held['metric']} of: {' '.join(held['command'])}",
                    "name another folder with --run",
                )
        return study

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the study, so that a trial is never seen between its proposal and its owner's name."""
        while (claim := take(self.folder / LOCK)) is None:
            time.sleep(0.05)
        try:
            yield
        finally:
            claim.release()


def logged(path: Path, metric: str) -> Iterator[float]:
    """Yield a metric of each validation that a run has logged so far, but of no line that is still being written."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            value = json.loads(line).get(metric)
        except (ValueError, AttributeError):
            return
        if isinstance(value, (int, float)) and math.isfinite(value):
            yield float(value)


def validated(run: str | None, metric: str) -> float | None:
    """Return a validation metric of a finished run, None where it has none."""
    try:
        record = read_json(Path(run) / RUN_RECORD) if run else {}
    except DataError:
        return None
    metrics: Mapping[str, Any] = record.get("metrics") or {}
    value = metrics.get(metric)
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _pruner(optuna: Any, name: str) -> Any:
    made = {"median": "MedianPruner", "halving": "SuccessiveHalvingPruner", "none": "NopPruner"}
    if name not in made:
        raise ConfigError(f"there is no pruner {name!r}", f"choose from: {', '.join(PRUNERS)}")
    return getattr(optuna.pruners, made[name])()


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UsageError("--search optuna needs Optuna", "pip install 'userrep[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna

"""The ledger: what is known of each trial, in a folder of its own, for whoever shares the list."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from userrep.errors import DataError
from userrep.files import read_json, write_json
from userrep.sweep.claim import Claim, holder, take
from userrep.sweep.trial import Trial
from userrep.sweep.words import paths

RECORD, ANSWER, LOG, CLAIM = "trial.json", "answer.json", "log.txt", ".claim"
RUN_RECORD = "run.json"


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: finished, failed, pruned, or skipped because what it needs failed."""

    status: str
    exit_code: int | None = None
    error: str | None = None
    seconds: float = 0.0
    run: str | None = None
    answer: Mapping[str, Any] | None = None
    before: bool = False  # it was finished before this command began


class Ledger:
    """The folder of a sweep; several processes may use it at once.

    What failed before this command began is tried again, once whoever tries it; what another process has tried since
    is taken from it. `fresh` tries again what was finished, too.
    """

    def __init__(self, folder: Path, trials: Sequence[Trial] = (), fresh: bool = False) -> None:
        self.folder, self._fresh = folder, fresh
        self._known: dict[str, int] = {}
        for trial in trials:
            self.watch(trial)

    def watch(self, trial: Trial) -> None:
        """Remember how often a trial was tried so far."""
        self._known.setdefault(trial.key, int((self._record(trial) or {}).get("attempts", 0)))

    def place(self, trial: Trial) -> Path:
        """Return the folder of a trial's traces."""
        return self.folder / trial.folder

    def claim(self, trial: Trial) -> Claim | None:
        """Claim a trial; None where another process has it."""
        return take(self.place(trial) / CLAIM)

    def holder(self, trial: Trial) -> str:
        """Return who has claimed a trial."""
        return holder(self.place(trial) / CLAIM)

    def outcome(self, trial: Trial) -> Outcome | None:
        """Return how a trial ended, None where it is to be run: never tried, failed before, gone, or made otherwise."""
        record = self._record(trial)
        if record is None:
            return None
        since = int(record["attempts"]) > self._known.get(trial.key, 0)
        if not since and (self._fresh or record["status"] == "failed" or not _intact(record, trial)):
            return None
        told: dict[str, Any] = {key: record.get(key) for key in ("status", "exit_code", "error", "run")}
        return Outcome(**told, seconds=float(record.get("seconds") or 0.0), answer=self.answer(trial), before=not since)

    def close(self, trial: Trial, outcome: Outcome) -> None:
        """Write down how a trial ended."""
        kept = {key: value for key, value in asdict(outcome).items() if key not in ("answer", "before")}
        attempts = int((self._record(trial) or {}).get("attempts", 0)) + 1
        about = {"name": trial.name, "command": trial.command, "values": dict(trial.values), "config": trial.config}
        record = {**about, **kept, "read": _read(trial), "attempts": attempts, "machine": platform.node()}
        write_json(self.place(trial) / RECORD, record)

    def answer(self, trial: Trial) -> dict[str, Any] | None:
        """Return the JSON answer of a trial, None where there is none."""
        try:
            lines = (self.place(trial) / ANSWER).read_text(encoding="utf-8").strip().splitlines()
            found = json.loads(lines[-1]) if lines else None
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def last_line(self, trial: Trial) -> str:
        """Return the last line of a trial's log."""
        try:
            with (self.place(trial) / LOG).open("rb") as stream:
                stream.seek(max(0, stream.seek(0, 2) - 4096))
                lines = stream.read().decode("utf-8", errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1].strip() if lines else ""

    def _record(self, trial: Trial) -> dict[str, Any] | None:
        path = self.place(trial) / RECORD
        try:
            record = read_json(path) if path.exists() else None
        except DataError:  # damaged: as if it had not been tried
            return None
        return record if isinstance(record, dict) and {"attempts", "status"} <= set(record) else None


def _intact(record: Mapping[str, Any], trial: Trial) -> bool:
    """Say whether the run of a finished trial is still there, and made of what its command means and names today."""
    if trial.config is not None and record.get("config") not in (None, trial.config):
        return False
    if "read" in record and record["read"] != _read(trial):  # an earlier userrep kept none
        return False
    run = record.get("run")
    return record["status"] != "finished" or run is None or (Path(run) / RUN_RECORD).is_file()


def _read(trial: Trial) -> dict[str, str]:
    """Return when the runs were finished that a trial names and does not make, by their paths."""
    found = {}
    for path in sorted(paths(trial.words)):
        try:
            record = read_json(Path(path) / RUN_RECORD) if (Path(path) / RUN_RECORD).is_file() else None
        except DataError:
            record = None
        if isinstance(record, dict):
            found[path] = str(record.get("finished"))
    return found

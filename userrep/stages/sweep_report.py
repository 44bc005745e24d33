"""What a sweep tells: who runs and who has ended while it goes on, a table and the failures at its end."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from userrep import console
from userrep.board import Board
from userrep.errors import UserRepError
from userrep.run import open_run
from userrep.stages.headline import headline
from userrep.sweep.ledger import LOG, Ledger, Outcome
from userrep.sweep.queue import Queue
from userrep.sweep.search import Search
from userrep.sweep.trial import Trial

FAILED = 6  # the exit code of a sweep some of whose trials failed
ORDER = ("finished", "pruned", "failed", "skipped")
SHOWN, LETTERS = 5, 80  # failures on the board; of a line there
DRAWN = 0.5  # seconds between two drawings of it


class Teller:
    """Show a queue as it goes: a board on a terminal, else a line for what has changed."""

    def __init__(self, total: int, board: Board | None) -> None:
        self._total, self._board = total, board
        self._told: set[tuple[str, str]] = set()
        self._ended, self._drawn = 0, 0.0

    def tell(self, queue: Queue) -> None:
        """Show where the queue stands."""
        if self._board is not None:
            if time.monotonic() - self._drawn < DRAWN and len(queue.outcomes) == self._ended:
                return
            self._drawn, self._ended = time.monotonic(), len(queue.outcomes)
            self._board.show(self._title(queue), ("trial", "where", "seconds", "last line"), self._rows(queue))
            return
        for key, one in queue.running.items():
            self._once(f"{key}{one.began}", "began", f"{one.trial.name}: begun, {one.child.where}")
        for key, trial in queue.elsewhere.items():
            self._once(key, "elsewhere", f"{trial.name}: {queue.ledger.holder(trial)} has it")
        for key, (trial, outcome) in queue.outcomes.items():
            if (key, "ended") not in self._told:
                self._ended += 1
                self._once(key, "ended", f"[{self._ended}/{self._total}] {trial.name}: {_ended(outcome)}")

    def _once(self, key: str, what: str, line: str) -> None:
        if (key, what) not in self._told:
            self._told.add((key, what))
            console.note(line)

    def _title(self, queue: Queue) -> str:
        counts = Counter(outcome.status for _, outcome in queue.outcomes.values())
        told = [f"{counts[status]} {status}" for status in ORDER if counts[status]]
        told += [f"{len(queue.elsewhere)} elsewhere"] if queue.elsewhere else []
        return f"sweep of {self._total} trial(s): {', '.join([f'{len(queue.running)} running', *told])}"

    def _rows(self, queue: Queue) -> list[list[Any]]:
        failed = [(trial, outcome) for trial, outcome in queue.outcomes.values() if outcome.status == "failed"]
        rows: list[list[Any]] = [[trial.name, "failed", int(one.seconds), one.error] for trial, one in failed[-SHOWN:]]
        for one in queue.running.values():
            rows.append(
                [one.trial.name, one.child.where, int(one.seconds), queue.ledger.last_line(one.trial)[:LETTERS]]
            )
        rows += [[trial.name, queue.ledger.holder(trial), None, ""] for trial in queue.elsewhere.values()]
        return rows


def _ended(outcome: Outcome) -> str:
    if outcome.status != "finished":
        return f"{outcome.status}{f': {outcome.error}' if outcome.error else ''}"
    found = score(outcome)
    value = f", valid {found[0]} {found[1]:.4f}" if found else ""
    return f"finished before{value}" if outcome.before else f"finished in {outcome.seconds:.0f} s{value}"


def score(outcome: Outcome, metric: str | None = None) -> tuple[str, float] | None:
    """Return the headline validation metric of the run of a trial, or `metric`; None where it has none."""
    try:
        return headline(open_run(outcome.run, checked=False), metric) if outcome.run else None
    except UserRepError:
        return None


def planned(folder: Path, trials: Sequence[Trial]) -> dict[str, Any]:
    """List the commands that a sweep would run, and return the answer of a dry run."""
    for trial in trials:
        console.note(trial.command)
    told = [{"name": trial.name, "command": trial.command, "run": trial.run and str(trial.run)} for trial in trials]
    return {"folder": str(folder), "trials": told}


def report(
    folder: Path, trials: Sequence[Trial], queue: Queue, ledger: Ledger, search: Search | None = None
) -> dict[str, Any]:
    """Print a line a trial and why some failed; return the answer of the sweep with its exit code."""
    ended = [queue.outcomes[trial.key] for trial in trials]
    _show(folder, ended, search.aim.metric if search else None)
    for trial, outcome in ended:
        if outcome.status == "failed":
            console.warn(f"{trial.name} failed: {outcome.error}; its log: {ledger.place(trial) / LOG}")
        elif outcome.status == "skipped":
            console.warn(f"{trial.name} was not run: {outcome.error}")
    counts = {status: sum(outcome.status == status for _, outcome in ended) for status in ORDER}
    answer: dict[str, Any] = {"folder": str(folder), "trials": [_row(*one, ledger) for one in ended], "counts": counts}
    if search is not None:
        answer["search"] = _searched(search)
    bad = counts["failed"] + counts["skipped"]
    if bad:
        console.warn(f"{bad} of {len(ended)} trial(s) failed; the same command tries them again")
    return answer | {"exit_code": FAILED if bad else 0}


def _show(folder: Path, ended: Sequence[tuple[Trial, Outcome]], metric: str | None) -> None:
    axes = list(dict.fromkeys(key for trial, _ in ended for key in trial.values)) or ["trial"]
    metrics = {found[0] for _, outcome in ended if (found := score(outcome, metric))}
    columns = [*axes, "status", f"valid {metrics.pop()}" if len(metrics) == 1 else "valid", "seconds", "run"]
    rows = []
    for trial, outcome in ended:
        found = score(outcome, metric)
        place = [trial.values.get(key, "-") for key in axes] if trial.values else [trial.name, *["-"] * (len(axes) - 1)]
        seconds = console.Figure(f"{outcome.seconds:,.0f}")
        rows.append([*place, outcome.status, found and found[1], seconds, outcome.run or "-"])
    console.table(f"{len(ended)} trial(s), traces in {folder}", columns, rows)


def _row(trial: Trial, outcome: Outcome, ledger: Ledger) -> dict[str, Any]:
    return {
        "name": trial.name, "values": dict(trial.values), "command": trial.command, "status": outcome.status,
        "exit_code": outcome.exit_code, "error": outcome.error, "run": outcome.run, "seconds": outcome.seconds,
        "log": str(ledger.place(trial) / LOG), "answer": outcome.answer,
    }  # fmt: skip


def _searched(search: Search) -> dict[str, Any]:
    """Print and return the best trial of a search."""
    best = search.best()
    told: dict[str, Any] = {"metric": search.aim.metric, "maximise": search.aim.maximise, "best": None}
    if best is None:
        console.note("no trial came to its end: there is no best one")
        return told
    values = " ".join(f"{key}={value}" for key, value in best.params.items())
    run = best.user_attrs.get("run")
    console.note(f"best of {search.told}: valid {search.aim.metric} {best.value:.4f}, {values}, {run}")
    return told | {"best": {"trial": best.number, "value": best.value, "values": dict(best.params), "run": run}}

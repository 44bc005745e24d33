"""Rehearsal: every trial of a sweep is composed and checked before the first begins."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from userrep import progress
from userrep.build import build
from userrep.errors import UserRepError
from userrep.files import digest, read_json
from userrep.run.record import RECORD, comparable
from userrep.sweep.trial import Trial, slug
from userrep.sweep.words import Override, mentions, named_run, parts

Rehearse = Callable[..., dict[str, Any]]  # of the words of a command: what its dry run answers
BUILT = ("trainer", "protocol", "method", "task", "objective", "baseline")
Answers = dict[tuple[str, ...], dict[str, Any]]


def placed(trials: Sequence[Trial], folder: Path | None) -> list[Trial]:
    """Send the run of each trial to a folder of its name below `--run`, where that is given."""
    if folder is None:
        return list(trials)
    names = [slug(trial.name) for trial in trials]
    places = [name if names.count(name) == 1 else trial.folder for name, trial in zip(names, trials, strict=True)]
    return [sent(trial, folder / place) for trial, place in zip(trials, places, strict=True)]


def sent(trial: Trial, run: Path) -> Trial:
    """Return a trial whose run goes to a folder."""
    return replace(trial, words=(*trial.words, "--run", str(run)), run=run)


def rehearsed(trials: Sequence[Trial], rehearse: Rehearse) -> list[Trial]:
    """Check every trial, and complete it; one that names the run of an earlier trial will wait for it.

    Raises:
        UserRepError: what is wrong with a trial, which is named.
    """
    found: list[Trial] = []
    answers: Answers = {}
    with progress.working("checking trials", len(trials), "trials") as shown:
        for trial in trials:
            needs = [one for one in found if one.run is not None and mentions(trial.words, one.run)]
            there = all(_is_finished(one.run) for one in needs)
            with _naming(trial):
                waiting = replace(trial, needs=tuple(one.key for one in needs))
                found.append(completed(waiting, rehearse, there, answers))
            shown.advance()
    return found


def completed(trial: Trial, rehearse: Rehearse, there: bool = True, answers: Answers | None = None) -> Trial:
    """Return a trial with what its dry run tells: its base, its run, its config.

    `there` is False while the run that it starts from is still to be made. Of commands that differ in their seed alone
    one is checked, by `answers`: a composition takes long, and a seed can be wrong in no way that it would find.
    """
    answers = {} if answers is None else answers
    alike = _but_seed(trial.words)
    known = alike in answers
    if not known:
        answers[alike] = _built(rehearse(trial.words, base_is_there=there))
    answer = answers[alike]
    own = None if known or not answer.get("run") else Path(answer["run"])
    words = _with_base(trial.words, answer.get("base"))
    return replace(trial, words=words, run=named_run(words) or own, config=_digest(answer.get("config")))


def _built(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer after building what can be built without data: a value that cannot work is refused there."""
    config = answer.get("config") or answer.get("composed") or {}
    for name in BUILT:
        if isinstance(config.get(name), Mapping):
            build(config[name], at=name)
    return answer


def _but_seed(words: Sequence[str]) -> tuple[str, ...]:
    """Return a command without its seed, where that is a number, and without `--run`."""
    run = named_run(words)
    kept = [word for word in words if word not in ("--run", str(run), f"--run={run}")]
    found = parts(kept)
    seeded = [part for part in found if isinstance(part, Override) and part.key == "seed" and part.value.isdecimal()]
    return tuple(part if isinstance(part, str) else part.text for part in found if part not in seeded)


def _digest(config: dict[str, Any] | None) -> str | None:
    return digest({key: value for key, value in comparable(config).items() if key != "seed"}) if config else None


def _with_base(words: tuple[str, ...], base: str | None) -> tuple[str, ...]:
    """Name the base that a command would choose, so that all trials, today and later, start from one."""
    given = any(word == "--from" or word.startswith("--from=") for word in words)
    return words if base is None or given or mentions(words, Path(base)) else (*words, "--from", base)


def _is_finished(run: Path | None) -> bool:
    try:
        return run is not None and read_json(run / RECORD).get("status") == "finished"
    except (UserRepError, AttributeError):
        return False


@contextmanager
def _naming(trial: Trial) -> Iterator[None]:
    """Say of an error which trial it is of."""
    try:
        yield
    except UserRepError as error:
        raise type(error)(f"trial {trial.name}: {error.message}", error.hint) from error

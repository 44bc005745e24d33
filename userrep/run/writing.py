"""Writing a run: one writer at a time, the same command twice does the work once."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from userrep import console, team
from userrep.errors import UsageError
from userrep.files import explaining_write_errors, sha256_of, sweep, write_json, write_yaml
from userrep.run import provenance
from userrep.run.locking import locked
from userrep.run.record import (
    CHECKPOINT,
    CONFIG,
    FORMAT,
    LOCK,
    LOG,
    READINGS,
    RECORD,
    WEIGHTS,
    Run,
    comparable,
    config_hash,
    now,
    open_run,
)

_SHOWN = 6  # differing keys named in a message


class Session:
    """A run while this process may write it."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.finished_before = run.finished
        self._began = time.monotonic()
        self._seconds_before = float(run.record.get("seconds", 0.0))

    @property
    def path(self) -> Path:
        """The folder of the run."""
        return self.run.path

    @property
    def partial(self) -> bool:
        """Whether an earlier attempt left something to go on from."""
        return any((self.path / name).exists() for name in (CHECKPOINT, LOG))

    @property
    def seconds(self) -> float:
        """Wall time of all attempts together, as far as they could record it."""
        return round(self._seconds_before + time.monotonic() - self._began, 3)

    def update(self, **fields: Any) -> None:
        """Set fields of the run's record, on disk at once."""
        self.run.record.update(fields, seconds=self.seconds)
        write_json(self.path / RECORD, self.run.record)

    def finish(self, **fields: Any) -> None:
        """Record the weights' hash and that the run is whole; then drop the checkpoint."""
        weights = next((self.path / name for name in WEIGHTS if (self.path / name).exists()), None)
        if weights:
            size = weights.stat().st_size
            fields["weights"] = {"file": weights.name, "sha256": sha256_of(weights), "bytes": size}
        self.update(**fields, status="finished", finished=now())
        (self.path / CHECKPOINT).unlink(missing_ok=True)


@contextmanager
def writing(
    path: Path,
    *,
    verb: str,
    config: Mapping[str, Any],
    parent: Run | None = None,
    source: Run | None = None,
    fresh: bool = False,
) -> Iterator[Session]:
    """Hold the run at `path` for writing: a new one, the rest of a partial one, or one that is finished.

    `parent` is what it stands on; `source` is read, too, while it is written. With `fresh`, what is there gives way,
    but for the count of its readings of test. A new folder in which nothing came to be is removed when the block fails.

    Raises:
        UsageError: another process writes it, it has another config, the folder holds something else, or is that of
        the parent, the source or an ancestor.
        DataError: the folder cannot be written.
    """
    path = Path(path)
    if team.follows():
        yield _following(path, verb)
        return
    for read in (parent, source):
        _refuse_source(path, read)
    _refuse_foreign(path)
    with locked(path):
        if fresh:
            _empty(path)
        session = Session(_opened(path, verb, config, parent))
        if session.finished_before:
            console.note(f"{path} is already finished with this config; --fresh would start it over")
        team.agree(session.finished_before)
        try:
            yield session
        except BaseException:
            if not session.run.finished:
                _leave(session)
            raise


def _following(path: Path, verb: str) -> Session:
    """Return the session of a process that follows: the leader has the run and writes it."""
    if team.agree(0):
        raise team.Handed()
    return Session(Run(path, {"verb": verb, "status": "running", "choices": {}}))


def _leave(session: Session) -> None:
    """Keep what can be gone on from; remove a folder that holds no work."""
    names = {entry.name for entry in session.path.iterdir()}
    if names <= {RECORD, CONFIG, LOCK}:
        shutil.rmtree(session.path, ignore_errors=True)
        return
    try:
        session.update()
    except Exception as error:  # the cause that is under way matters more
        console.warn(f"could not record the time spent: {error}")


def _opened(path: Path, verb: str, config: Mapping[str, Any], parent: Run | None) -> Run:
    sweep(path, (RECORD, CONFIG, *WEIGHTS))
    if (path / RECORD).exists():
        run = open_run(path)
        _refuse_other(run, verb, config, parent)
        if not run.finished:
            _tell_of_other_torch(run)
        else:
            (path / CHECKPOINT).unlink(missing_ok=True)
        return run
    _refuse_foreign(path)
    return _begin(path, verb, config, parent)


def _refuse_foreign(path: Path) -> None:
    """Raise UsageError for a folder that holds something and no run."""
    if not path.is_dir() or (path / RECORD).exists():
        return
    foreign = sorted(entry.name for entry in path.iterdir() if entry.name not in (LOCK, CONFIG, READINGS))
    if foreign:
        raise UsageError(f"{path} holds something that is no run: {foreign[0]}", "name a new or empty folder")


def _refuse_source(path: Path, read: Run | None) -> None:
    """Raise UsageError where a run would be written over one that it is made from."""
    met = set[Path]()
    while read is not None and (place := read.path.resolve()) not in met:
        if place == path.resolve():
            raise UsageError(f"{path} is read to make this run", "name another folder with --run or --export")
        met.add(place)
        recorded = read.record.get("parent")
        above = read.path / recorded["path"] if recorded else None
        read = open_run(above, checked=False) if above is not None and (above / RECORD).is_file() else None


def _begin(path: Path, verb: str, config: Mapping[str, Any], parent: Run | None) -> Run:
    record: dict[str, Any] = {
        "format": FORMAT,
        "verb": verb,
        "status": "running",
        "config_hash": config_hash(verb, config, parent),
        "choices": dict(config.get("choices") or {}),
        "parent": parent and _reference(parent, path),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "commit": provenance.commit(),
        "created": now(),
        "seconds": 0.0,
    }
    write_yaml(path / CONFIG, config)
    write_json(path / RECORD, record)
    return Run(path, record)


def _reference(parent: Run, path: Path) -> dict[str, Any]:
    relative = os.path.relpath(parent.path.resolve(), path.resolve())
    return {"path": relative, "weights_hash": parent.weights_hash}


def _refuse_other(run: Run, verb: str, config: Mapping[str, Any], parent: Run | None) -> None:
    if run.record["config_hash"] == config_hash(verb, config, parent):
        return
    base = (run.record.get("parent") or {}).get("weights_hash")
    chosen = dict(config.get("choices") or {})
    unlike = {group for group, name in run.choices.items() if chosen.get(group, name) != name}
    old = {"verb": run.verb, "base weights": base, **_told(run.config, run.choices, unlike)}
    new = {"verb": verb, "base weights": parent and parent.weights_hash, **_told(config, chosen, unlike)}
    differing = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    shown = [f"{key} {_short(old.get(key))} -> {_short(new.get(key))}" for key in differing[:_SHOWN]]
    more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
    raise UsageError(
        f"{run.path} has another config: {'; '.join(shown)}{more}",
        "name another folder with --run, or start this one over with --fresh",
    )


def _told(config: Mapping[str, Any], choices: Mapping[str, str], unlike: set[str]) -> dict[str, Any]:
    """Return a config with dotted keys; of groups in which another file was chosen, the name of the file alone."""
    return _dotted({key: choices.get(key) if key in unlike else node for key, node in comparable(config).items()})


def _dotted(node: Any, at: str = "") -> dict[str, Any]:
    if not isinstance(node, Mapping):
        return {at: node}
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= _dotted(value, f"{at}.{key}" if at else str(key))
    return found


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."


def _tell_of_other_torch(run: Run) -> None:
    """Warn of a run that another torch has worked on, and keep which ones did."""
    here = provenance.versions().get("torch")
    begun = run.record.get("versions", {}).get("torch", here)
    before = run.record.get("torch") or [begun]
    others = dict.fromkeys(str(version) for version in before if version != here)
    if not others:
        return
    console.warn(
        f"{run.path} was worked on by torch {', '.join(others)} and goes on with {here}: "
        "the same bits as without a stop are not promised"
    )
    if before[-1] != here:
        run.record["torch"] = [*before, here]
        write_json(run.path / RECORD, run.record)


def _empty(path: Path) -> None:
    """Remove a run's files but its readings, which say how often test was looked at to come to the new one.

    A folder that holds something else is left alone for `_opened` to refuse.
    """
    if not (path / RECORD).exists():
        return
    with explaining_write_errors(path):
        for entry in path.iterdir():
            if entry.name in (LOCK, READINGS):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

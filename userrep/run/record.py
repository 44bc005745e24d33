"""The run: a folder that holds a config, weights or a delta, metrics, and where all of it came from."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from userrep.errors import DataError, UsageError, VerificationError
from userrep.files import digest, explaining_write_errors, read_json, read_yaml, sha256_of
from userrep.sequences.store import DESCRIPTIVE

FORMAT = 1
RECORD, CONFIG, LOCK, CHECKPOINT, LOG = "run.json", "config.yaml", ".lock", "checkpoint.pt", "log.jsonl"
READINGS = "readings.jsonl"
HOW = ("accumulate", "devices", "checkpoint_seconds")  # keys of a trainer that change how, and not what, is trained
WEIGHTS = ("model.safetensors", "delta.safetensors")


@dataclass
class Run:
    """A run on disk as it was when it was opened.

    `checked` holds its files, and those of its ancestors, to the recorded hashes; False is for who looks for what is
    wrong with them.
    """

    path: Path
    record: dict[str, Any]
    checked: bool = True

    @property
    def verb(self) -> str:
        """The verb that made the run."""
        return str(self.record["verb"])

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.record.get("status") == "finished"

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config."""
        return dict(read_yaml(self.path / CONFIG))

    @cached_property
    def choices(self) -> dict[str, str]:
        """The choice made in each config group; of an old run, from its config."""
        recorded = self.record.get("choices")
        if recorded is None:
            recorded = self.config.get("choices")
        return dict(recorded or {})

    @cached_property
    def weights(self) -> Path:
        """The weights or the delta, checked against the recorded hash.

        Raises:
            DataError: the run has none, or is not finished.
            VerificationError: the file is not the one that was written.
        """
        if not self.finished:
            raise DataError(f"{self.path} is not finished", "give the command that made it again: it goes on")
        recorded = self.record.get("weights")
        if not recorded:
            raise DataError(f"{self.path} holds no weights", "name a run of an encoder")
        path = self.path / recorded["file"]
        if not path.is_file():
            raise DataError(f"{path} is missing", f"make the run again: userrep {self.verb} ... --fresh")
        if self.checked:
            _verify(path, recorded)
        return path

    @property
    def weights_hash(self) -> str | None:
        """The recorded sha256 of the weights or the delta."""
        return (self.record.get("weights") or {}).get("sha256")

    def parent(self) -> "Run | None":
        """Return the run this one started from, None for a first one.

        Raises:
            DataError: it is gone.
            VerificationError: its weights are not those this run was made from.
        """
        recorded = self.record.get("parent")
        if not recorded:
            return None
        path = Path(os.path.normpath(self.path / recorded["path"]))
        if not (path / RECORD).is_file():
            raise DataError(f"the base of {self.path} is gone: {path}", "bring it back, or make the run again")
        base = open_run(path, self.checked)
        if self.checked and (
            base.weights_hash != recorded["weights_hash"] or sha256_of(base.weights) != recorded["weights_hash"]
        ):
            raise VerificationError(
                f"the base {path} changed after {self.path} was made from it",
                f"bring the old base back, or make the run again: userrep {self.verb} --from {path} --fresh",
            )
        return base

    def add_reading(self, **fields: Any) -> None:
        """Append a line to readings.jsonl: every reading of test metrics leaves a trace."""
        path = self.path / READINGS
        with explaining_write_errors(path), path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"time": now(), **fields}) + "\n")


def _verify(path: Path, recorded: Mapping[str, Any]) -> None:
    size = path.stat().st_size
    if size != recorded["bytes"]:
        cause = f"{path} has {size:,} bytes instead of {recorded['bytes']:,}"
    elif sha256_of(path) != recorded["sha256"]:
        cause = f"{path} is not the file that was written: its sha256 differs"
    else:
        return
    raise VerificationError(cause, "bring back an intact copy, or make the run again with --fresh")


def now() -> str:
    """Return the time, UTC, to the microsecond, as text that sorts."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def open_run(path: Path | str, checked: bool = True) -> Run:
    """Open a run, to be held to its recorded hashes or not.

    Raises:
        UsageError: there is no run at `path`.
        DataError: its record is damaged.
    """
    folder = Path(path)
    if not (folder / RECORD).is_file():
        what = "holds no run" if folder.is_dir() else "is a file" if folder.exists() else "does not exist"
        raise UsageError(f"{folder} {what}", f"name a folder with a {RECORD} in it, such as those below runs/")
    record = read_json(folder / RECORD)
    if not _is_record(record):
        raise DataError(f"{folder / RECORD} is no record of a run", "make the run again with --fresh")
    if record.get("format", 0) > FORMAT:
        raise DataError(f"{folder} was made by a newer userrep", "update userrep: pip install --upgrade userrep")
    return Run(folder, record, checked)


def _is_record(record: Any) -> bool:
    """Say whether a record has what every reader takes for granted."""
    if not isinstance(record, dict) or "verb" not in record or "config_hash" not in record:
        return False
    metrics = record.get("metrics") or {}
    if not isinstance(metrics, dict):
        return False
    return all(value is None or isinstance(value, (int, float)) for value in (record.get("seconds"), *metrics.values()))


def list_runs(runs_dir: Path, tell: Callable[[str], None] = lambda cause: None) -> list[Run]:
    """Return the runs below `runs_dir`, oldest first; damaged ones are left out, and `tell` is given the cause."""
    found = []
    for record in runs_dir.glob(f"**/{RECORD}"):
        try:
            found.append(open_run(record.parent))
        except UsageError:  # a folder has the name of a record
            continue
        except DataError as error:
            tell(error.message)
    return sorted(found, key=lambda run: str(run.record.get("created")))


def newest_run(verb: str | Iterable[str], runs_dir: Path, chosen: Mapping[str, str] = MappingProxyType({})) -> Run:
    """Return the finished run of `verb` (or of one of several) begun last, of those with the choices `chosen`.

    Raises UsageError if there is none.
    """
    verbs = (verb,) if isinstance(verb, str) else tuple(verb)
    fitting = [
        run
        for run in list_runs(runs_dir)
        if run.verb in verbs and run.finished and all(run.choices.get(group) == name for group, name in chosen.items())
    ]
    if not fitting:
        of = "".join(f" with {group}={name}" for group, name in chosen.items())
        raise UsageError(
            f"there is no finished {verbs[0]} run{of} below {runs_dir}",
            f"make one first (userrep {verbs[0]}), or name one",
        )
    return fitting[-1]


def config_hash(verb: str, config: Mapping[str, Any], parent: Run | None = None) -> str:
    """Return the hash that makes two runs the same: verb, resolved config, weights of the parent."""
    return hash_of(verb, config, parent.weights_hash if parent else None)


def hash_of(verb: str, config: Mapping[str, Any], base: str | None) -> str:
    """Return what `config_hash` does, of a base by the hash of its weights."""
    return digest({"verb": verb, "config": comparable(config), "parent": base})


def comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config without where its values came from and the texts that describe its data set."""
    kept = {key: value for key, value in config.items() if key not in ("choices", "origins")}
    if kept.get("trainer"):
        kept["trainer"] = {key: value for key, value in kept["trainer"].items() if key not in HOW}
    if kept.get("dataset"):
        kept["dataset"] = {key: value for key, value in kept["dataset"].items() if key not in DESCRIPTIVE}
    return kept


def default_path(runs_dir: Path, verb: str, config: Mapping[str, Any], parent: Run | None = None) -> Path:
    """Return `runs/<verb>/<dataset>-<model>-<method>-<task>-s<seed>-<hash>`, absent parts left out."""
    chosen = config.get("choices") or {}
    dataset = (config.get("dataset") or {}).get("name")
    names = [dataset, *(chosen.get(group) for group in ("model", "method", "baseline", "task"))]
    parts = [str(name) for name in names if name]
    parts += [f"s{config.get('seed', 0)}", config_hash(verb, config, parent)[:8]]
    return runs_dir / verb / "-".join(parts)

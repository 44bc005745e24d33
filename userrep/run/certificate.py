"""The certificate: what each task of a chain reads and answers, written beside a run and held to its ancestors' own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from userrep.errors import DataError, UsageError, VerificationError
from userrep.files import read_json, sha256_of, write_json
from userrep.run.record import Run, hash_of

FILE = "certificate.json"
FORMAT = 1
REMEDY = "bring back intact copies of the run and its bases, or make the run again with --fresh"

Certificate = dict[str, Any]
Entry = dict[str, Any]

_NUMBER = (int, float, type(None))
_KEYS: Mapping[str, Any] = {
    "config_hash": str, "base": str, "weights": str, "tasks": list, "stored": dict, "owners": dict, "free": _NUMBER,
}  # fmt: skip
_ENTRY_KEYS = {
    "task": int, "name": str, "run": str, "tensors": dict, "probe": dict, "logits": dict, "metric": dict,
    "environment": dict,
}  # fmt: skip


def write_certificate(run: Run, base: Run, weights: Path, parent: Run | None, fields: Mapping[str, Any]) -> str:
    """Write the certificate of a run whose weights lie at `weights`; return its sha256, which the record keeps.

    `parent` is the run of the task before, None for task 1. What the certificate is of is in it: config, base, weights.
    """
    certificate = {
        "format": FORMAT,
        "config_hash": run.record["config_hash"],
        "base": base.weights_hash,
        "weights": sha256_of(weights),
        "parent": parent and parent.record["certificate"],
        **fields,
    }
    write_json(run.path / FILE, certificate)
    return sha256_of(run.path / FILE)


def read_certificate(run: Run) -> Certificate:
    """Read the certificate of a run.

    Raises:
        UsageError: it was made without one.
        VerificationError: the file is gone, or is not the one that was written for this run.
    """
    path, recorded = run.path / FILE, run.record.get("certificate")
    if not recorded:
        raise UsageError(
            f"{run.path} has no certificate",
            "name a run of a method that keeps one: userrep prune BASE --method conure, and then "
            "userrep transfer --method conure --from RUN; one that an older userrep made: again, with --fresh",
        )
    if not path.is_file():
        raise VerificationError(f"{path} is missing", REMEDY)
    if sha256_of(path) != recorded:
        raise VerificationError(f"{path} is not the file that was written for {run.path}: its sha256 differs", REMEDY)
    try:
        found = read_json(path)
    except DataError as error:
        raise VerificationError(error.message, REMEDY) from error
    if isinstance(found, dict) and isinstance(found.get("format"), int) and found["format"] > FORMAT:
        raise DataError(f"{path} was made by a newer userrep", "update userrep: pip install --upgrade userrep")
    if not _is_certificate(found):
        raise VerificationError(f"{path} is no certificate", REMEDY)
    made_of = {"config_hash": run.record["config_hash"], "base": _base_hash(run)}
    for key, value in made_of.items():
        if found[key] != value:
            raise VerificationError(f"{path} is the certificate of another run: its {key} differs", REMEDY)
    return dict(found)


def read_certificates(runs: Sequence[Run]) -> list[Certificate]:
    """Read the certificates of a chain, task 1 first, and hold each to the one before.

    Raises VerificationError where one does not say of an earlier task what that task's own certificate says.
    """
    found: list[Certificate] = []
    for task, run in enumerate(runs, start=1):
        certificate, path = read_certificate(run), run.path / FILE
        if certificate["parent"] != (runs[task - 2].record["certificate"] if task > 1 else None):
            raise VerificationError(f"{path} does not follow that of the task before", REMEDY)
        if [entry["task"] for entry in certificate["tasks"]] != list(range(1, task + 1)):
            raise VerificationError(f"{path} does not list the tasks 1 to {task}", REMEDY)
        for own, here in zip(found[-1]["tasks"] if found else (), certificate["tasks"], strict=False):
            for key in _ENTRY_KEYS:
                if key != "run" and own[key] != here[key]:  # paths are relative to each run
                    where = f"for task {own['task']} ({own['name']})"
                    raise VerificationError(f"{path} has other {key} {where} than that task's own certificate", REMEDY)
        found.append(certificate)
    return found


def check_config(run: Run) -> None:
    """Raise VerificationError where a run's config is not the one that its record is of."""
    try:
        same = hash_of(run.verb, run.config, _base_hash(run)) == run.record["config_hash"]
    except (DataError, ValueError, TypeError, AttributeError):  # it is no mapping of plain values any more
        same = False
    if not same:
        raise VerificationError(f"{run.path / 'config.yaml'} is not the config that the run was made with", REMEDY)


def _base_hash(run: Run) -> str | None:
    return (run.record.get("parent") or {}).get("weights_hash")


def _is_certificate(found: Any) -> bool:
    """Say whether a certificate has what every reader takes for granted."""
    if not _has(found, _KEYS) or "parent" not in found:
        return False
    return all(
        _has(entry, _ENTRY_KEYS)
        and _has(entry["logits"], {"shape": list, "sha256": str, "columns": list, "values": list})
        and _has(entry["metric"], {"name": str, "value": _NUMBER})
        for entry in found["tasks"]
    )


def _has(node: Any, keys: Mapping[str, Any]) -> bool:
    return isinstance(node, dict) and all(isinstance(node.get(key), kind) for key, kind in keys.items())

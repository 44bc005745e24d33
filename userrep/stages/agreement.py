"""What runs must agree in before their numbers stand in one table, and where they do not."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from userrep import console
from userrep.build import build
from userrep.errors import ConfigError, UsageError
from userrep.run import Run

SHOWN = 4  # differing keys in a message


def one_protocol(runs: Sequence[Run], force: bool) -> str | None:
    """Return the protocol hash that all runs share; with `force`, None and a warning where they differ.

    Raises:
        UsageError: they differ; the message names what in.
    """
    hashes: dict[Any, Run] = {}
    for run in runs:
        hashes.setdefault(run.record.get("protocol_hash"), run)
    if len(hashes) == 1 and None not in hashes:
        return str(next(iter(hashes)))
    differing = differences(list(hashes.values()))
    told = "; ".join(f"{key} is {_told(found)}" for key, found in list(differing.items())[:SHOWN])
    more = f"; and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
    unknown = ", ".join(f"{run.path} ({found or 'unknown'})" for found, run in hashes.items())
    listed = told + more or f"their hashes differ, nothing else that they recorded does: {unknown}"
    if not force:
        keys = ", ".join(differing) or "all of them, made by one version of userrep"
        remedy = f"compare runs alike in {keys}, or give --force"
        raise UsageError(f"these runs follow unlike protocols: {listed}", remedy)
    console.warn(f"runs of unlike protocols are compared: {listed}")
    return None


def differences(runs: Sequence[Run]) -> dict[str, dict[str, Run]]:
    """Return the conditions in which runs differ: each value that occurs, with the first run that has it."""
    conditions = [_conditions(run) for run in runs]
    found: dict[str, dict[str, Run]] = {}
    for key in dict.fromkeys(key for one in conditions for key in one):
        values: dict[str, Run] = {}
        for run, one in zip(runs, conditions, strict=True):
            values.setdefault(str(one.get(key)), run)
        if len(values) > 1:
            found[key] = values
    return found


def _conditions(run: Run) -> dict[str, Any]:
    """Return what the protocol hash is made of, in words: data, splits, task and the protocol's own keys."""
    record, node = run.record, run.config.get("protocol") or {}
    data = record.get("data") or {}
    found = {"data": _named(data), "task": record.get("task")}
    for part, split in (record.get("splits") or {}).items():
        found[f"split of {part}"] = _named(split)
    return found | {key: value for key, value in _completed(node).items() if key != "fold"}


def _named(entry: Mapping[str, Any]) -> str:
    return f"{entry.get('name')} ({str(entry.get('hash'))[:8]})"


def _completed(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a protocol's keys, those that are younger than the run with their defaults."""
    try:
        return asdict(build(node, at="protocol"))
    except ConfigError:  # of a version with other keys
        return {key: value for key, value in node.items() if key != "_target_"}


def _told(values: Mapping[str, Run]) -> str:
    return " and ".join(f"{value} ({run.path})" for value, run in values.items())

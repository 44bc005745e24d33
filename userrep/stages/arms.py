"""The arms of a comparison: runs that differ in nothing but seed and fold belong to one arm."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from userrep.errors import DataError, UsageError
from userrep.evaluation.per_user import read_per_user, stored
from userrep.evaluation.results import Result, joined
from userrep.files import digest
from userrep.run import Run, open_run
from userrep.stages.report import FILES

Replicate = tuple[int, int]  # seed, and fold where every fold tests the same users

CHOICES = ("baseline", "method", "model", "objective")
SHOWN = 3  # differing keys in a name


@dataclass
class Arm:
    """One way of making a model, run for several seeds and folds; folds that divide the users are pooled."""

    config: dict[str, Any]
    name: str
    apart: tuple[str, ...] = ()  # what the name had to be given to differ from another's
    runs: list[Run] = field(default_factory=list)
    results: dict[Replicate, list[Result]] = field(default_factory=dict)
    unlike: tuple[str, ...] = ()  # keys in which its config differs from that of an arm of the same choices

    @cached_property
    def pooled(self) -> dict[Replicate, Result]:
        """Return one result a replicate.

        Raises:
            UsageError: two runs test the same users with the same seed.
        """
        found = {key: joined(parts) for key, parts in sorted(self.results.items())}
        for (seed, _), result in found.items():
            parts = sum(len(np.unique(part.users)) for part in self.results[seed, _])
            if parts != len(np.unique(result.users)):
                raise UsageError(f"two runs of {self.name} with seed {seed} test the same users", "name each run once")
        return found

    def keep(self, replicates: Sequence[Replicate]) -> None:
        """Leave all other runs out, unless there is one replicate, which stands for all."""
        if len(self.results) > 1:
            self.runs = [run for run in self.runs if _replicate(run) in replicates]
            self.results = {key: parts for key, parts in self.results.items() if key in replicates}
            del self.pooled

    def mean(self, key: str) -> float | None:
        """Average a number that runs recorded of themselves; None where one did not."""
        values = [run.record.get(key) for run in self.runs]
        return None if None in values else float(np.mean(values))  # type: ignore[arg-type]

    @property
    def trials(self) -> int | None:
        """Count the settings that a run of this arm chose from; None where its runs did not record it."""
        counts = {len(run.record.get("trials") or ()) for run in self.runs}
        return max(counts) or None


def group(runs: Sequence[Run], split: str = "test") -> list[Arm]:
    """Sort runs that were evaluated on `split` into arms, in the order given.

    Raises:
        UsageError: a run is unfinished or was not evaluated.
        DataError: its per-user table cannot be read.
    """
    results = read_per_user([_table(run, split) for run in runs])
    if len({result.kind for result in results}) > 1:
        raise UsageError("these runs are of unlike kinds of task", "compare runs of one task")
    arms: dict[str, Arm] = {}
    for run, result in zip(runs, results, strict=True):
        config = lineage(run)
        arm = arms.setdefault(digest(config), Arm(config, name_of(run)))
        arm.runs.append(run)
        arm.results.setdefault(_replicate(run), []).append(result)
    _tell_apart(list(arms.values()))
    return list(arms.values())


def _table(run: Run, split: str) -> Path:
    path = run.path / FILES[split][1]
    if not stored(path).is_file():
        where = "" if split == "test" else f" --split {split}"
        raise UsageError(f"{run.path} was not evaluated on {split}", f"userrep evaluate {run.path}{where}")
    return path


def _replicate(run: Run) -> Replicate:
    fold = (run.config.get("protocol") or {}).get("fold", 0)
    divides = "users" in run.record.get("splits", {})
    return int(run.config.get("seed", 0)), 0 if divides else int(fold)


def lineage(run: Run) -> dict[str, Any]:
    """Return what made a run, its ancestors' configs included, less seeds, folds and names of files."""
    config = {key: value for key, value in run.config.items() if key not in ("seed", "choices", "origins", "dataset")}
    if config.get("protocol"):
        config["protocol"] = {key: value for key, value in config["protocol"].items() if key != "fold"}
    recorded = run.record.get("parent")
    if recorded:
        path = os.path.normpath(run.path / recorded["path"])
        try:
            config["base"] = lineage(open_run(path))
        except (UsageError, DataError):  # moved away: its weights stand for it
            config["base"] = recorded["weights_hash"]
    return {"verb": run.verb, **config}


def replicate_name(replicate: Replicate) -> str:
    """Name a replicate by its seed, and its fold where that is not the first."""
    seed, fold = replicate
    return f"{seed}, fold {fold}" if fold else str(seed)


def name_of(run: Run) -> str:
    """Name the arm of a run by its verb and the choices that made it."""
    chosen = run.config.get("choices") or {}
    names = [chosen[group] for group in CHOICES if chosen.get(group)]
    return " ".join([run.verb, *names])


def labels(arms: Iterable[Arm]) -> dict[str, str]:
    """Return by its name what an arm is called in a table: its method or baseline, and what else differs there.

    Of `transfer full nextitnet` and `transfer head nextitnet` remain `full` and `head`.
    """
    known = {arm.name: arm for arm in arms}
    chosen = {name: arm.runs[0].config.get("choices") or {} for name, arm in known.items()}
    varies = [group for group in CHOICES if len({one[group] for one in chosen.values() if one.get(group)}) > 1]
    shown = [group for group in CHOICES if group in ("baseline", "method", *varies)]
    found = {}
    for name, arm in known.items():
        words = [chosen[name][group] for group in shown if chosen[name].get(group)]
        apart = [re.sub(r"^[\w.]+\.(?=\w+=)", "", text) for text in arm.apart]
        found[name] = " ".join([*words, *apart])
    distinct = all(found.values()) and len(set(found.values())) == len(found)
    return found if distinct else {name: name for name in known}


def divided(arms: Iterable[Arm]) -> str:
    """Say in which keys runs of the same choices must be alike to be folds of one arm; nothing where all are."""
    keys = sorted({key for arm in arms for key in arm.unlike})
    if not keys:
        return ""
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return f"folds of one arm are alike in all but seed and fold: these differ in {', '.join(keys[:SHOWN])}{more}"


def _tell_apart(arms: list[Arm]) -> None:
    """Add to arms of one name the keys in which they differ, a number where that is too many."""
    for name in {arm.name for arm in arms}:
        alike = [arm for arm in arms if arm.name == name]
        if len(alike) == 1:
            continue
        flat = [_dotted(arm.config) for arm in alike]
        keys = sorted({key for one in flat for key in one if len({repr(other.get(key)) for other in flat}) > 1})
        for index, (arm, one) in enumerate(zip(alike, flat, strict=True)):
            arm.unlike = tuple(keys)
            shown = tuple(f"{key}={one.get(key)}" for key in keys)
            arm.apart = shown if len(keys) <= SHOWN else (f"#{index + 1}",)
            arm.name = " ".join([name, *arm.apart])


def _dotted(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat

"""What a chain cost and what it has left: updates, seconds, bytes, and who owns how many weights of which layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from userrep.errors import DataError
from userrep.evaluation.continual import free_after
from userrep.methods.conure import owned_weights
from userrep.models.encoder import Encoder
from userrep.run import Run
from userrep.run.record import LOG
from userrep.stages.lineage import lineage
from userrep.training.journal import Journal


def efforts(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return what each task took; task 1 with what its run started from, since its encoder was trained there."""
    first = list(lineage(runs[0]))
    found = [_effort([run]) for run in runs[1:]]
    return [_effort(first), *found]


def _effort(runs: Sequence[Run]) -> dict[str, Any]:
    newest = runs[0]
    return {
        "updates": _sum([updates(run) for run in runs]),
        "seconds": _sum([run.record.get("seconds") for run in runs]),
        "trainable": newest.record.get("trainable"),
        "bytes": _sum([(run.record.get("weights") or {}).get("bytes") for run in runs]),
    }


def updates(run: Run) -> int | None:
    """Return the updates of all phases of a run, as its log has them; None where it kept none, as an imported one."""
    try:
        records = [one for one in Journal(run.path / LOG).records() if "updates" in one]
    except ValueError as error:
        raise DataError(f"{run.path / LOG} is damaged", "bring it back, or make the run again with --fresh") from error
    if not records:
        return None
    phases: dict[str, int] = {}
    for one in records:
        phases[str(one["phase"])] = max(phases.get(str(one["phase"]), 0), int(one["updates"]))
    return sum(phases.values())


def _sum(values: Sequence[Any]) -> Any:
    return None if any(value is None for value in values) else sum(values)


@dataclass(frozen=True)
class Capacity:
    """Who owns the weights: `counts (L, 1 + n)` of each layer the free ones, then those of each task."""

    layers: tuple[str, ...]
    counts: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """The share of all ownable weights that each task has: `(n,)`."""
        owned: np.ndarray = self.counts[:, 1:].sum(axis=0) / self.counts.sum()
        return owned

    def record(self) -> dict[str, Any]:
        """Return it for JSON: the curve has the free share after each task."""
        return {
            "weights": int(self.counts.sum()),
            "owned": self.shares.tolist(),
            "free": free_after(self.shares).tolist(),
            "layers": {name: row.tolist() for name, row in zip(self.layers, self.counts, strict=True)},
        }


def capacity(encoder: Encoder, tasks: int) -> Capacity | None:
    """Count the owners of an encoder's weights; None for one whose weights nobody owns."""
    owners = {name: owned.owner.flatten().cpu().numpy() for name, owned in owned_weights(encoder)}
    if not owners:
        return None
    counts = np.stack([np.bincount(owner, minlength=1 + tasks) for owner in owners.values()])
    return Capacity(tuple(owners), counts)

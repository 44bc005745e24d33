"""Seen: whose events, and which, the ancestors of a run were trained on."""

import numpy as np

from userrep.build import build
from userrep.errors import UsageError
from userrep.objectives.objective import Objective
from userrep.run import Run
from userrep.sequences.protocol import Protocol, seen_users
from userrep.sequences.store import Prepared
from userrep.stages.lineage import lineage


def share_seen(base: Run, data: Prepared, protocol: Protocol, objective: Objective, role: str = "test") -> float:
    """Return the share of the users this task tests whose events the base or its ancestors were trained on.

    `role` is for a look at others: those whom it is chosen by.
    """
    tested = np.unique(objective.cases(data, protocol, role).rows)
    trained = np.any([_trained_on(run, data) for run in lineage(base)], axis=0)
    return float(trained[tested].mean()) if len(tested) else 0.0


def check_cut(base: Run, protocol: Protocol, objective: Objective) -> None:
    """Raise UsageError where events that the task asks for may have been trained on, since they were cut elsewhere."""
    if "events" not in objective.splits:
        return
    for run in lineage(base):
        held = run.record.get("splits", {}).get("events", {}).get("name", protocol.events)
        if held != protocol.events:
            raise UsageError(
                f"{run.path} was trained with protocol.events={held}, "
                f"and {objective.task_name} asks for events after the cut of {protocol.events}",
                f"set protocol.events={held}, or start from a base pre-trained with protocol.events={protocol.events}",
            )


def _trained_on(run: Run, data: Prepared) -> np.ndarray:
    """Mask the users `(U,)` that this run itself was trained on."""
    protocol = build(run.config["protocol"])
    if run.config.get("task") is None:
        return seen_users(data, protocol)
    mask = np.zeros(data.num_users, dtype=bool)
    mask[build(run.config["task"]).cases(data, protocol, "train").rows] = True
    return mask

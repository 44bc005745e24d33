"""What a search is after: the validation metric by which a command's own training chooses its epoch."""

from typing import Any

from userrep.build import build
from userrep.errors import UsageError
from userrep.evaluation.metrics import lower_is_better
from userrep.objectives.objective import Objective
from userrep.sweep.search import Aim

TRIALS = 20


def aim_of(answer: dict[str, Any], by: str | None, trials: int | None, seed: int, pruner: str) -> Aim:
    """Return the aim for the dry run of a command: its task's or objective's metric, or `by`.

    Raises:
        UsageError: the command has no validation metric.
    """
    config = answer.get("config") or {}
    node = config.get("task") or config.get("objective")
    if not node:
        cause = f"{answer['verb']} has no validation metric to search by"
        raise UsageError(cause, "search over pretrain, transfer or prune")
    objective: Objective = build(node)
    metric = by or objective.metric
    maximise = objective.maximise if metric == objective.metric else not lower_is_better(metric)
    return Aim(metric, maximise, TRIALS if trials is None else trials, seed, pruner)

"""Validation: each process of a team evaluates its share of the users, and all have the metrics of one process."""

from dataclasses import fields, replace

import numpy as np
import torch

from userrep import team
from userrep.evaluation.results import JointResult, Metrics, Result
from userrep.models.encoder import Encoder
from userrep.models.shards import settle
from userrep.objectives.objective import Objective
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared


def validated(objective: Objective, encoder: Encoder, data: Prepared, protocol: Protocol, users: np.ndarray) -> Metrics:
    """Return an objective's validation metrics, from the users of a mask."""
    if team.size() == 1 or not objective.divisible or type(objective).validate is not Objective.validate:
        return objective.validate(encoder, data, protocol, users)
    return evaluated(objective, encoder, data, protocol, "valid", users).metrics()


def evaluated(
    objective: Objective, encoder: Encoder, data: Prepared, protocol: Protocol, role: str, users: np.ndarray | None
) -> Result:
    """Return an objective's result on a role; every process has all of it, in the order of one process.

    What a user is answered does not hang on who else is evaluated, so that the metrics are equal to those of one
    process: tests hold that law for every objective.
    """
    if team.size() == 1:
        return objective.evaluate(encoder, data, protocol, role, users)
    mask = np.ones(data.num_users, dtype=bool) if users is None else users
    own = np.zeros_like(mask)
    own[team.share(np.flatnonzero(mask))] = True
    result = objective.evaluate(encoder, data, protocol, role, own)
    settle()
    return gathered(result, encoder.device)


def gathered(own: Result, device: torch.device) -> Result:
    """Return the results of all processes as one: cases in order of their users, those of one user as they were."""
    if isinstance(own, JointResult):
        return JointResult.of({name: gathered(part, device) for name, part in own.parts.items()}, own.judged)
    columns = {field.name: getattr(own, field.name) for field in fields(own)}
    arrays = {name: value for name, value in columns.items() if isinstance(value, np.ndarray)}
    found = {
        name: np.concatenate([part.cpu().numpy() for part in team.gather_rows(torch.from_numpy(value).to(device))])
        for name, value in arrays.items()
    }
    order = np.argsort(found["users"], kind="stable")
    return replace(own, **{name: value[order] for name, value in found.items()})

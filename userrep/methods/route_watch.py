"""What is seen of routes: read for cases, and summed up for the log of a training."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from userrep.evaluation.ranking import Csr
from userrep.evaluation.tiles import read_histories
from userrep.methods.routed import read_routes
from userrep.models.encoder import Encoder
from userrep.objectives.objective import Objective
from userrep.objectives.parts import Parts
from userrep.sequences.batches import Cases
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared

MARK = "route:"  # before each name in a log record


def routes_of(
    encoder: Encoder, objective: Objective, data: Prepared, protocol: Protocol, cases: Cases
) -> tuple[np.ndarray, np.ndarray]:
    """Return for the history of each case the route and the chance of each block's tuned side, `(N, A)` each."""
    sequences = objective.inputs(data, protocol)
    before = Csr(sequences.items, sequences.offsets[cases.rows], cases.ends)
    with torch.inference_mode():
        both: Tensor = read_histories(partial(read_routes, encoder), before, protocol.history, encoder.device)
    route, chance = both.float().cpu().numpy().reshape(len(cases), 2, -1).swapaxes(0, 1)
    return route, chance


def summary(route: np.ndarray, chance: np.ndarray) -> dict[str, float]:
    """Return usage over all and by block, its deviation over users, mean entropy in bits, and how many routes differ.

    The entropy is that of a block's choice as the policy draws it: 1 where it tosses a coin, 0 where it is sure.
    """
    sure = np.clip(chance.astype(np.float64), 1e-12, 1 - 1e-12)
    entropy = -(sure * np.log2(sure) + (1 - sure) * np.log2(1 - sure))
    told = {
        "usage": float(route.mean()),
        "usage_deviation": float(route.mean(axis=1).std()),
        "entropy": float(entropy.mean()),
        "routes": float(len(np.unique(route > 0.5, axis=0))),
    }
    return told | {f"usage_{index}": float(share) for index, share in enumerate(route.mean(axis=0), start=1)}


def watch_routes(
    encoder: Encoder, objective: Objective, data: Prepared, protocol: Protocol, users: np.ndarray
) -> dict[str, float]:
    """Sum up the routes of the validation cases of mask `users (U,)`, each name behind `MARK`.

    Nothing is said of several tasks learned together, each of which may read a user by another history.
    """
    if isinstance(objective.leader, Parts):
        return {}
    cases = objective.select(objective.cases(data, protocol, "valid"), users)
    found = summary(*routes_of(encoder, objective, data, protocol, cases))
    return {f"{MARK}{name}": value for name, value in found.items()}

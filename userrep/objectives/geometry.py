"""The geometry of users while their views are learned: how their vectors lie, and two views of each."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from userrep.evaluation.results import Metrics
from userrep.evaluation.spectrum import effective_rank, variance_share
from userrep.evaluation.sphere import alignment, spread, uniformity
from userrep.models.encoder import Encoder


def geometry(users: Tensor, left: Tensor, right: Tensor) -> Metrics:
    """Measure user vectors `(N, P * D)` and two views of them as they are compared, `(N, D)` each."""
    return {
        "effective_rank": effective_rank(users),
        "variance_share": variance_share(users),
        "projected_rank": effective_rank(left),
        "spread": spread(left),
        "alignment": alignment(left, right),
        "uniformity": uniformity(left),
    }


@contextmanager
def hiding(encoder: Encoder, seed: int) -> Iterator[None]:
    """Let dropout hide what it hides in training, drawn from a seed of its own; all is then as before."""
    device = encoder.device
    modes = {module: module.training for module in encoder.modules()}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        try:
            encoder.train()
            yield
        finally:
            for module, training in modes.items():
                module.training = training

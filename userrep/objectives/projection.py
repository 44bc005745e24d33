"""Projector and predictor: the heads through which two views of a user are compared, dropped by a transfer."""

from torch import nn


def projector(width: int, out: int) -> nn.Sequential:
    """Map user vectors `(B, width)` to `(B, out)`: three linear layers, each followed by a batch norm (CLUE, III-B).

    Activations and the last norm, which has no weights, are those of SimSiam (Chen and He, CVPR 2021): the paper does
    not say.
    """
    return nn.Sequential(
        nn.Linear(width, out, bias=False), nn.BatchNorm1d(out), nn.ReLU(),
        nn.Linear(out, out, bias=False), nn.BatchNorm1d(out), nn.ReLU(),
        nn.Linear(out, out, bias=False), nn.BatchNorm1d(out, affine=False),
    )  # fmt: skip


def predictor(width: int, hidden: int) -> nn.Sequential:
    """Map `(B, width)` to the same shape through `hidden` channels: two linear layers, a batch norm on the first."""
    return nn.Sequential(
        nn.Linear(width, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, width)
    )

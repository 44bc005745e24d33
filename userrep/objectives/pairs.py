"""Pairs: the answer of each state against negatives of its own, never holding positions x negatives x width at once.

As in `softmax.py`, gradients are made in the forward pass, chunk by chunk, in the memory that held the item vectors.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from userrep.models.rows import is_marked, rows_of
from userrep.objectives.forward_gradients import ForwardGradients

SPAN = 1 << 20  # numbers of item vectors held at once: 4 MiB, which fits a core's cache

# Scores (N, 1 + S), the answer's first -> the summed loss in fp64, and its derivative by each score.
Criterion = Callable[[Tensor], tuple[Tensor, Tensor]]


def ordered(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Bayesian personalised ranking: -log sigmoid(s+ - s-), the mean over a row's negatives (Rendle et al., 2009)."""
    gaps = scores[:, 1:] - scores[:, :1]  # (N, S): how far a negative is ahead
    share = gaps.shape[1]
    slopes = torch.sigmoid(gaps).div_(share)
    loss = -F.logsigmoid(-gaps).double().sum() / share
    return loss, torch.cat([-slopes.sum(dim=1, keepdim=True), slopes], dim=1)


def told_apart(scores: Tensor, answer: float, negative: float) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy: -answer log sigmoid(s+) - negative sum log(1 - sigmoid(s-)), the weights as given."""
    own, others = scores[:, :1], scores[:, 1:]
    loss = -answer * F.logsigmoid(own).double().sum() - negative * F.logsigmoid(-others).double().sum()
    return loss, torch.cat([torch.sigmoid(-own).mul_(-answer), torch.sigmoid(others).mul_(negative)], dim=1)


def logistic(negatives: int) -> Criterion:
    """Return PeterRec's loss (spec 2.3): -log sigmoid(s+) - log(1 - sigmoid(s-)), the mean over a row's negatives."""
    return partial(told_apart, answer=1.0, negative=1 / negatives)


def calibrated(negatives: int, items: int, t: float) -> Criterion:
    """Return gBCE: -(beta log sigmoid(s+) + sum log(1 - sigmoid(s-))) / (negatives + 1).

    beta = a (t (1 - 1/a) + 1/a), where a = negatives / (items - 1) is the sampling rate: t = 0 is plain binary
    cross-entropy, t = 1 undoes the overconfidence that few negatives bring (gSASRec: Petrov and Macdonald, 2023).
    Their code takes one item fewer: a = negatives / (items - 2).
    """
    rate = min(1.0, negatives / (items - 1))
    beta = rate * (t * (1 - 1 / rate) + 1 / rate)
    return partial(told_apart, answer=beta / (negatives + 1), negative=1 / (negatives + 1))


class _Pairs(ForwardGradients):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, table: Tensor, bias: Tensor | None, ids: Tensor, criterion: Criterion
    ) -> Tensor:
        chunk = max(1, SPAN // (ids.shape[1] * table.shape[1]))
        grad_states, grad_table = torch.empty_like(states), torch.zeros_like(table)
        grad_bias = None if bias is None else torch.zeros_like(bias)
        loss = states.new_zeros((), dtype=torch.float64)
        for start in range(0, len(states), chunk):
            rows, picked = states[start : start + chunk], ids[start : start + chunk]
            vectors = table.index_select(0, picked.flatten()).unflatten(0, picked.shape)  # (chunk, 1 + S, D)
            scores = torch.bmm(rows.unsqueeze(1), vectors.transpose(1, 2)).squeeze(1)  # 7 times faster turned round
            if bias is not None:
                scores += bias[picked]
            value, slopes = criterion(scores)
            loss += value
            grad_states[start : start + chunk] = torch.bmm(slopes.unsqueeze(1), vectors).squeeze(1)
            torch.mul(slopes.unsqueeze(2), rows.unsqueeze(1), out=vectors)
            grad_table.index_add_(0, picked.flatten(), vectors.flatten(0, 1))
            if grad_bias is not None:
                grad_bias.index_add_(0, picked.flatten(), slopes.flatten())
        return ForwardGradients.keep(ctx, states, loss, grad_states, grad_table, grad_bias)


def pairwise(
    states: Tensor, table: Tensor, bias: Tensor | None, targets: Tensor, negatives: Tensor, criterion: Criterion
) -> Tensor:
    """Return the mean of a criterion over `states (N, D)`.

    `targets (N,)` and `negatives (N, S)` are rows of `table (V, D)` and of `bias (V,)`.
    """
    ids = torch.cat([targets.unsqueeze(1), negatives], dim=1)
    if is_marked(table):  # the rows that are met stand in for the table, whose gradient they alone get
        met, ids = ids.unique(return_inverse=True)
        table, bias = rows_of(table, met), None if bias is None else bias[met]
    return _Pairs.apply(states, table, bias, ids, criterion)

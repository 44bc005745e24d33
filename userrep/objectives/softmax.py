"""Softmax cross-entropy over a large vocabulary, exact or sampled, never holding positions x vocabulary at once.

Both functions make their gradients in the forward pass, chunk by chunk, in one workspace: the logits of a chunk become
its probabilities in place and are used up before the next chunk is made.
"""

from typing import Any

import torch
from torch import Tensor

from userrep.models.rows import rows_of
from userrep.objectives.forward_gradients import ForwardGradients

CHUNK = 256  # rows of logits held at once; 128-512 measured alike
MASKED = -1e30  # a logit that takes no part; finite, so that a row of them gives no NaN
_SCRATCH: dict[tuple[torch.device, torch.dtype], Tensor] = {}


class _FullSoftmax(ForwardGradients):
    @staticmethod
    def forward(ctx: Any, states: Tensor, table: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        answers = targets.unsqueeze(1) if targets.ndim == 1 else targets  # (N, A)
        chunk = min(CHUNK, max(1, len(states)))
        logits_space = _workspace(table, chunk, len(table))
        grad_states, grad_table = torch.empty_like(states), torch.zeros_like(table)
        grad_bias = None if bias is None else torch.zeros_like(bias)
        loss = states.new_zeros((), dtype=torch.float64)
        for start in range(0, len(states), chunk):
            rows, wanted = states[start : start + chunk], answers[start : start + chunk]
            logits = torch.mm(rows, table.t(), out=logits_space[: len(rows)])  # (chunk, V)
            if bias is not None:
                logits.add_(bias)
            loss += _probabilities_in_place(logits, wanted)
            torch.mm(logits, table, out=grad_states[start : start + chunk])
            grad_table.addmm_(logits.t(), rows)
            if grad_bias is not None:
                grad_bias.add_(logits.sum(dim=0))
        return ForwardGradients.keep(ctx, states, loss, grad_states, grad_table, grad_bias)


def full_softmax(states: Tensor, table: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of `states (N, D)` against rows `targets (N,)` of `table (V, D)`.

    Equal to `F.cross_entropy(states @ table.T + bias, targets)`; memory is CHUNK x V instead of N x V. With `targets
    (N, A)` each state has A answers, each of weight 1 / A, for the price of one.
    """
    return _FullSoftmax.apply(states, table, bias, targets)


class _SampledSoftmax(ForwardGradients):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        positives: Tensor,
        negatives: Tensor,
        positive_shift: Tensor,
        negative_shift: Tensor,
        hits: tuple[Tensor, Tensor],
    ) -> Tensor:
        chunk = min(CHUNK * 4, max(1, len(states)))
        space = _workspace(states, chunk, len(negatives) + 1)
        grad_states, grad_positives = torch.empty_like(states), torch.empty_like(positives)
        grad_negatives = torch.zeros_like(negatives)
        first = torch.zeros(chunk, 1, dtype=torch.long, device=states.device)
        loss = states.new_zeros((), dtype=torch.float64)
        for start in range(0, len(states), chunk):
            part = slice(start, min(start + chunk, len(states)))
            rows, answers = states[part], positives[part]
            logits = space[: len(rows)]  # (chunk, 1 + S): the answer first
            logits[:, 0] = (rows * answers).sum(dim=-1) + positive_shift[part]
            logits[:, 1:] = torch.addmm(negative_shift, rows, negatives.t())
            inside = (hits[0] >= part.start) & (hits[0] < part.stop)
            logits[hits[0][inside] - start, hits[1][inside] + 1] = MASKED
            loss += _probabilities_in_place(logits, first[: len(rows)])
            own, others = logits[:, :1], logits[:, 1:]
            grad_states[part] = torch.addcmul(others @ negatives, own, answers)
            grad_positives[part] = own * rows
            grad_negatives.addmm_(others.t(), rows)
        return ForwardGradients.keep(ctx, states, loss, grad_states, grad_positives, grad_negatives)


def sampled_softmax(
    states: Tensor, table: Tensor, bias: Tensor | None, targets: Tensor, sampled: Tensor, log_expected: Tensor
) -> Tensor:
    """Return the mean sampled-softmax loss with logQ correction (Bengio & Senecal, 2008).

    `targets (N,)` and `sampled (S,)` are rows of `table (V, D)`, `log_expected (V,)` is the log of how often
    each row is expected among S draws with replacement. Negatives are shared by the batch; one that equals a row's
    answer is left out of that row. As S grows the loss tends to `full_softmax`.
    """
    positives = rows_of(table, targets)  # (N, D)
    negatives = rows_of(table, sampled)  # (S, D)
    if bias is not None and bias.requires_grad:
        raise ValueError("sampled softmax takes no trainable bias: give a table without one")
    # The answer is present for sure, so its expected count is not corrected beyond its own bias.
    own_shift = states.new_zeros(len(targets)) if bias is None else bias[targets]
    shift = -log_expected[sampled] if bias is None else bias[sampled] - log_expected[sampled]
    hits = _accidental_hits(targets, sampled)
    return _SampledSoftmax.apply(states, positives, negatives, own_shift, shift, hits)


def _accidental_hits(targets: Tensor, sampled: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pairs (row, negative) where a negative is the row's own answer, without an N x S table."""
    ordered, origin = torch.sort(sampled)
    left, right = torch.searchsorted(ordered, targets), torch.searchsorted(ordered, targets, right=True)
    counts = right - left
    rows = torch.repeat_interleave(torch.arange(len(targets), device=targets.device), counts)
    within = torch.arange(len(rows), device=rows.device) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    return rows, origin[left[rows] + within]


def _probabilities_in_place(logits: Tensor, targets: Tensor) -> Tensor:
    """Turn `logits (N, V)` into d loss / d logits in place; return the summed loss in fp64. `targets` is (N, A)."""
    wanted = logits.gather(1, targets).double().mean(dim=1, keepdim=True)
    peak = logits.amax(dim=1, keepdim=True)
    total = logits.sub_(peak).exp_().sum(dim=1, keepdim=True)
    loss = (total.double().log() + peak - wanted).sum()
    logits.div_(total)
    logits.scatter_add_(1, targets, logits.new_full((1, 1), -1.0 / targets.shape[1]).expand_as(targets))
    return loss


def _workspace(like: Tensor, rows: int, columns: int) -> Tensor:
    """Return scratch memory `(rows, columns)`, kept between steps: fresh pages cost more than the arithmetic."""
    key = (like.device, like.dtype)
    kept = _SCRATCH.get(key)
    if kept is None or kept.numel() < rows * columns:
        with torch.inference_mode(False):  # scratch made inside inference could not serve a training step later
            kept = _SCRATCH[key] = torch.empty(rows * columns, dtype=like.dtype, device=like.device)
    return kept[: rows * columns].view(rows, columns)


def release_workspaces() -> None:
    """Give the scratch memory back that steps keep; the next step makes its own again."""
    _SCRATCH.clear()

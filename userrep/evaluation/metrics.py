"""Metrics of one relevant item's rank and of class probabilities, each also under resampling weights.

Every function that averages takes `weights (R, N)`, the times each of N cases occurs in each of R resamples,
and then returns `(R,)`; without weights it returns a float.
"""

import numpy as np


def lower_is_better(metric: str) -> bool:
    """Say whether less of a metric is better; one of a part of a joint task is named `part/metric`."""
    return metric.rpartition("/")[2] == "log_loss"


def ranks(greater: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """Return each target's expected rank among equals, `1 + greater + ties / 2`: `(N,)` fp64."""
    return 1 + greater + ties / 2


def hit_rate(rank: np.ndarray, k: int) -> np.ndarray:
    """Return 1 where the target is among the first k: `(N,)`."""
    return (rank <= k).astype(np.float64)


def ndcg(rank: np.ndarray, k: int) -> np.ndarray:
    """Return the discounted gain of one relevant item, `1 / log2(1 + rank)` inside the first k: `(N,)`."""
    return np.where(rank <= k, 1 / np.log2(1 + rank), 0.0)


def reciprocal_rank(rank: np.ndarray, k: int) -> np.ndarray:
    """Return `1 / rank` inside the first k: `(N,)`."""
    return np.where(rank <= k, 1 / rank, 0.0)


def negative_log(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return `-log p` of each label, p of `(N, K)` held above the resolution of fp64: `(N,)` nats."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.maximum(chosen, np.finfo(np.float64).eps))


def mean(values: np.ndarray, weights: np.ndarray | None = None) -> float | np.ndarray:
    """Average per-case values `(N,)`."""
    if weights is None:
        return float(values.mean())
    return weights @ values / weights.sum(axis=1)


def macro_f1(
    labels: np.ndarray, predicted: np.ndarray, classes: int, weights: np.ndarray | None = None
) -> float | np.ndarray:
    """Average the F1 of the classes that occur among labels `(N,)` or predictions `(N,)`."""
    sample = np.ones((1, len(labels))) if weights is None else weights
    code = np.arange(classes)
    actual, guessed = labels[:, None] == code, predicted[:, None] == code  # (N, K)
    both = sample @ (actual & guessed).astype(np.float64)  # (R, K)
    either = sample @ (actual.astype(np.float64) + guessed)
    occurs = either > 0
    f1 = np.divide(2 * both, either, out=np.zeros_like(both), where=occurs)
    found = f1.sum(axis=1) / np.maximum(occurs.sum(axis=1), 1)
    return float(found[0]) if weights is None else found


def auc(
    positive: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None, folds: np.ndarray | None = None
) -> float | np.ndarray:
    """Return the chance that a positive case scores above a negative one of its fold, ties counting half.

    `positive (N,)` bool, `scores (N,)`, `folds (N,)` where several models scored the cases: their scores are not
    on one scale, and a fold rich in positives leaves its model few to learn from, so that pooled pairs mislead
    (class shares alone would score below a half). NaN where no fold has both kinds.
    """
    sample = np.ones((1, len(scores))) if weights is None else weights
    wins, pairs = np.zeros(len(sample)), np.zeros(len(sample))
    for fold in [slice(None)] if folds is None else [folds == name for name in np.unique(folds)]:
        won, paired = _pairs_won(positive[fold], scores[fold], sample[:, fold])
        wins, pairs = wins + won, pairs + paired
    found = np.divide(wins, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    return float(found[0]) if weights is None else found


def _pairs_won(positive: np.ndarray, scores: np.ndarray, sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count pairs of a positive and a negative case that the positive wins, and all of them: `(R,)` each."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])  # of each group of equal scores
    above = np.add.reduceat(sample[:, order] * positive[order], begins, axis=1)  # (R, G)
    below = np.add.reduceat(sample[:, order] * ~positive[order], begins, axis=1)
    lower = np.cumsum(below, axis=1) - below / 2
    return (above * lower).sum(axis=1), above.sum(axis=1) * below.sum(axis=1)

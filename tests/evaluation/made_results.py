"""Made-up results for the tests of this folder."""

from dataclasses import replace

import numpy as np

from userrep.evaluation.results import ClassificationResult, RankingResult


def some_ranking(users: int = 60, seed: int = 0, ties: int = 3) -> RankingResult:
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(0, high, users) for high in (30, ties + 1, 20, ties + 1)]
    return RankingResult(np.arange(users), rng.integers(2, 99, users), *drawn)


def some_classification(users: int = 80, classes: int = 4, seed: int = 0, ties: bool = False) -> ClassificationResult:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, (users, classes)) if ties else rng.normal(size=(users, classes))
    powers = np.exp(scores)
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    labels = np.where(rng.random(users) < 0.5, probabilities.argmax(1), rng.integers(0, classes, users))
    return ClassificationResult(np.arange(users), labels, probabilities, tuple("abcdefg"[:classes]))


def several_cases(seed: int = 0, users: int = 20, cases: int = 50) -> RankingResult:
    """Give each user one case or more, in an order that mixes users; who has how many depends on no seed."""
    owners = np.random.default_rng(7).permutation(np.r_[np.arange(users), np.arange(cases - users) ** 2 % users])
    return replace(some_ranking(cases, seed), users=owners)

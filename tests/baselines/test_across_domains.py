"""Baselines for a task whose items are of another domain than the histories, against naive loops."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from userrep.baselines.markov import Markov
from userrep.baselines.popularity import Popularity
from userrep.errors import UsageError
from userrep.objectives.ranking import Ranking
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared

PROTOCOL = Protocol()


def lessons(data: Prepared, task: Ranking) -> list[tuple[list[int], list[int]]]:
    """Return what each training user read and bought."""
    read, bought, found = task.inputs(data, PROTOCOL), task.targets(data, PROTOCOL), []
    for row in np.flatnonzero(data.split("folds", 0).user_role == 0):
        one = read.items[read.offsets[row] : read.offsets[row + 1]].tolist()
        other = bought.items[bought.offsets[row] : bought.offsets[row + 1]].tolist()
        found += [(one, other)] if one and other else []
    return found


def ranks(scores: np.ndarray, target: int) -> float:
    """Rank a target among all items, from scores `(V,)` in which equal is equal."""
    others = np.delete(scores[2:], target - 2)
    return 1 + (others > scores[target] + 1e-9).sum() + (np.abs(others - scores[target]) <= 1e-9).sum() / 2


def test_what_is_learned_from_is_what_training_users_read_and_bought(two_domains: Prepared, buys: Ranking) -> None:
    before, answers = buys.learned_from(two_domains, PROTOCOL)
    found = [
        (one.items[one.starts[n] : one.ends[n]].tolist(), two.items[two.starts[n] : two.ends[n]].tolist())
        for one, two in [(before, answers)]
        for n in range(len(one.ends))
    ]
    assert found == lessons(two_domains, buys)


def test_popularity_counts_what_was_bought_in_training(two_domains: Prepared, buys: Ranking) -> None:
    result: Any = Popularity().fit_predict(two_domains, PROTOCOL, buys)
    counts = Counter(item for _, bought in lessons(two_domains, buys) for item in bought)
    size = buys.targets(two_domains, PROTOCOL).vocab_size
    scores = np.array([counts[item] for item in range(size)], dtype=float)
    assert result.table()["rank"].tolist() == [ranks(scores, target) for target in result.targets]


def test_markov_is_refused_with_what_fits(two_domains: Prepared, buys: Ranking) -> None:
    with pytest.raises(UsageError, match="items of another") as caught:
        Markov().fit_predict(two_domains, PROTOCOL, buys)
    assert "item_knn" in caught.value.hint

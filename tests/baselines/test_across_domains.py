"""Baselines for a task whose items are of another domain than the histories, against naive loops."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from userrep.baselines import ridge
from userrep.baselines.ease import Ease
from userrep.baselines.item_knn import ItemKNN
from userrep.baselines.markov import Markov
from userrep.baselines.popularity import Popularity
from userrep.baselines.ranker import BACKOFF
from userrep.baselines.recency import recent_bags
from userrep.baselines.ridge import Ridge, RidgeScorer, System
from userrep.errors import ConfigError, UsageError
from userrep.evaluation.ranking import Csr
from userrep.objectives.next_item import NextItem
from userrep.objectives.ranking import Ranking
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared, Sequences

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


@pytest.mark.parametrize(("count", "shrinkage", "decay"), [(3, 0.0, 1.0), (100, 2.0, 1.0), (5, 1.0, 0.6)])
def test_item_knn_adds_up_the_cosines_of_what_was_read_with_what_was_bought(
    two_domains: Prepared, buys: Ranking, count: int, shrinkage: float, decay: float
) -> None:
    result: Any = ItemKNN([count], [shrinkage], [decay]).fit_predict(two_domains, PROTOCOL, buys)
    known = [(set(read), set(bought)) for read, bought in lessons(two_domains, buys)]
    sizes = buys.inputs(two_domains, PROTOCOL).vocab_size, buys.targets(two_domains, PROTOCOL).vocab_size
    cosine = np.zeros(sizes)
    for one in range(sizes[0]):
        for other in range(sizes[1]):
            together = sum(one in read and other in bought for read, bought in known)
            alone = sum(one in read for read, _ in known) * sum(other in bought for _, bought in known)
            cosine[one, other] = together / (np.sqrt(alone) + shrinkage) if together else 0.0
        beyond = np.argsort(-cosine[one], kind="stable")[count:]
        cosine[one, beyond] = 0.0
    counts = Counter(item for _, bought in lessons(two_domains, buys) for item in bought)
    share = np.array([BACKOFF * counts[item] / counts.total() for item in range(sizes[1])])
    for place, (row, target) in enumerate(zip(result.users, result.targets, strict=True)):
        scores = share + naive_bag(buys.inputs(two_domains, PROTOCOL), row, decay) @ cosine
        assert abs(result.table()["rank"][place] - ranks(scores, target)) <= 0.5  # fp32 may part a tie


def naive_bag(sequences: Sequences, row: int, decay: float) -> np.ndarray:
    """Weigh what a user read: the newest place of an item counts."""
    bag = np.zeros(sequences.vocab_size)
    for age, item in enumerate(sequences.items[sequences.offsets[row] : sequences.offsets[row + 1]][::-1].tolist()):
        bag[item] = max(bag[item], decay**age)
    return bag


@pytest.mark.parametrize("users", [10, 200])
@pytest.mark.parametrize("weights", ["binary", "l2"])
@pytest.mark.parametrize("dense", [False, True])
def test_ridge_is_the_closed_form_whichever_side_is_solved(
    two_domains: Prepared, buys: Ranking, users: int, weights: str, dense: bool
) -> None:
    read, known = buys.inputs(two_domains, PROTOCOL), lessons(two_domains, buys)[:users]
    size = buys.targets(two_domains, PROTOCOL).vocab_size
    before, answers = ragged([one for one, _ in known]), ragged([other for _, other in known])
    thin = Ridge([weights]).features({"weights": weights, "decay": 0.7}, two_domains, PROTOCOL, buys, before, 0)
    features = (lambda events: thin(events).toarray()) if dense else thin
    system = System.of(features, features(before), recent_bags(answers, size))
    assert (len(known) < read.vocab_size) == (users == 10)
    bags = thin(before).toarray()
    if weights == "l2":
        assert np.allclose(np.square(bags).sum(axis=1), 1)
    bags /= np.sqrt(np.square(bags).sum(axis=1).mean())
    chosen = np.array([[item in other for item in range(size)] for _, other in known], dtype=float)
    share = chosen.mean(axis=0)
    inverse = np.linalg.inv(bags.T @ bags + 3.0 * np.eye(bags.shape[1]))
    expected = bags @ inverse @ bags.T @ (chosen - share) + share
    found = RidgeScorer(system, 3.0, before).block(np.arange(len(known)))
    assert np.allclose(found(0, size).numpy(), expected, atol=1e-6)
    assert np.allclose(found(4, 9).numpy(), expected[:, 4:9], atol=1e-6)


def test_a_history_scores_the_same_bits_by_a_ridge_alone_or_beside_others(two_domains: Prepared, buys: Ranking) -> None:
    cases = buys.cases(two_domains, PROTOCOL, "train")
    asked = cases.take(np.arange(257) % len(cases))
    scorer = Ridge().learn(two_domains, PROTOCOL, buys, 0)({"weights": "l2", "decay": 1.0, "strength": 3.0}, asked)
    size, rows = buys.targets(two_domains, PROTOCOL).vocab_size, np.arange(257)
    parts = [scorer.block(part)(0, size).numpy() for part in (rows[:256], rows[256:])]
    assert np.array_equal(np.concatenate(parts), scorer.block(rows)(0, size).numpy())


def ragged(rows: list[list[int]]) -> Csr:
    ends = np.cumsum([len(row) for row in rows])
    return Csr(np.concatenate([np.array(row, dtype=np.int64) for row in rows]), np.append(0, ends[:-1]), ends)


def test_a_ridge_that_does_not_converge_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "STEPS", 2)
    matrix = np.diag([1.0, 5.0, 25.0, 125.0])
    with pytest.raises(UsageError, match=r"strength 0\.1 did not converge"):
        ridge.conjugate_gradients(lambda columns: matrix @ columns, 0.1, np.ones((4, 1)))
    assert ridge.conjugate_gradients(lambda columns: matrix @ columns, 0.1, np.zeros((4, 1))).tolist() == [[0]] * 4


def test_a_ridge_learns_nothing_from_events_that_explain_themselves(prepared: Prepared) -> None:
    with pytest.raises(UsageError, match="more of the same") as caught:
        Ridge().fit_predict(prepared, PROTOCOL, NextItem())
    assert "ease" in caught.value.hint


def test_planted_taste_is_found_across_domains(two_domains: Prepared, buys: Ranking) -> None:
    found = {
        type(one).__name__: one.fit_predict(two_domains, PROTOCOL, buys).metrics()["hr@5"]
        for one in (Popularity(), ItemKNN(), Ridge())
    }
    assert min(found["ItemKNN"], found["Ridge"]) > 1.3 * found["Popularity"], found


def test_ease_is_refused_for_another_domain_and_settings_that_mean_nothing_are(
    two_domains: Prepared, buys: Ranking
) -> None:
    with pytest.raises(UsageError, match="EASE learns which items go with which of one domain"):
        Ease().fit_predict(two_domains, PROTOCOL, buys)
    for wrong in (lambda: ItemKNN([0]), lambda: Ease([0.0]), lambda: Ridge(strengths=[]), lambda: Ridge(["bynary"])):
        with pytest.raises(ConfigError):
            wrong()

"""Bootstrap intervals by user: what they cover, what they leave out, how they repeat."""

import math

import numpy as np
import pytest
from made_results import some_classification, some_ranking

from userrep.evaluation.intervals import bootstrap, percentiles, resamples
from userrep.evaluation.results import ClassificationResult, RankingResult


def test_resamples_draw_as_many_units_as_there_are() -> None:
    weights = np.concatenate(list(resamples(50, 300, np.random.default_rng(0))))
    assert weights.shape == (300, 50)
    assert set(weights.sum(axis=1)) == {50.0}
    assert abs(weights.var() - (1 - 1 / 50)) < 0.05  # multinomial: n p (1 - p)


def test_resamples_take_smaller_parts_where_units_have_many_cases_and_stay_the_same_draws() -> None:
    few, many = ([*resamples(50, 300, np.random.default_rng(0), cases)] for cases in (0, 100_000))
    assert [len(part) for part in many] == [20] * 15
    assert np.array_equal(np.concatenate(few), np.concatenate(many))


def test_intervals_hold_their_metric_and_repeat_with_the_seed() -> None:
    result = some_classification(users=200, classes=2)
    found = bootstrap(result, draws=300)
    for name, value in result.metrics().items():
        low, high = found[name]
        assert low < value < high, name
    assert bootstrap(result, draws=300) == found
    assert bootstrap(result, draws=300, seed=1) != found


def test_the_interval_of_a_mean_is_as_wide_as_the_normal_one() -> None:
    result = some_ranking(users=2_000)
    low, high = bootstrap(result, draws=800)["ndcg@10"]
    normal = 2 * 1.96 * result.values()["ndcg@10"].std() / math.sqrt(2_000)
    assert (high - low) / normal == pytest.approx(1, abs=0.1)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for trial in range(100):
        greater = np.where(rng.random(150) < 0.3, 0, 1_000)  # HR is 0.3 in the long run
        result = RankingResult(np.arange(150), greater, greater, np.zeros(150, dtype=np.int64))
        low, high = bootstrap(result, draws=200, seed=trial)["hr@10"]
        covered += low <= 0.3 <= high
    assert 88 <= covered <= 99


def test_cases_of_one_user_are_drawn_together() -> None:
    once = some_ranking(users=100)
    twice = once.subset(np.repeat(np.arange(100), 2))  # the same users, each case written twice
    for name, (low, high) in bootstrap(twice, draws=400).items():
        assert (low, high) == pytest.approx(bootstrap(once, draws=400)[name])


def test_a_draw_without_one_of_the_classes_does_not_spoil_the_interval() -> None:
    probabilities = np.array([[0.2, 0.8], [0.9, 0.1], [0.7, 0.3], [0.6, 0.4]])
    result = ClassificationResult(np.arange(4), np.array([1, 0, 0, 0]), probabilities, ("a", "b"))
    assert bootstrap(result, draws=100)["auc"] == (1.0, 1.0)


def test_draws_that_are_all_no_number_have_no_interval() -> None:
    assert all(math.isnan(end) for end in percentiles(np.array([np.nan, np.nan])))

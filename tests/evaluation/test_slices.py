"""Slices: every case in one bucket, buckets cut at quantiles, metrics of the bucket's own cases."""

from itertools import pairwise

import numpy as np
import pytest
from made_results import some_ranking

from userrep.evaluation.slices import slices


def test_each_case_lies_in_one_bucket_and_the_metric_is_that_of_its_cases() -> None:
    result = some_ranking(users=200)
    lengths = np.random.default_rng(0).integers(1, 60, 200)
    found = slices(result, "history", lengths)
    assert len(found) == 4
    assert sum(piece.cases for piece in found) == 200
    assert all(before.high < after.low for before, after in pairwise(found))
    for piece in found:
        mask = (lengths >= piece.low) & (lengths <= piece.high)
        assert mask.sum() == piece.cases
        assert piece.metrics == result.subset(mask).metrics()
    total = sum(piece.cases * piece.metrics["ndcg@10"] for piece in found) / 200
    assert total == pytest.approx(result.metrics()["ndcg@10"])


def test_buckets_are_about_equal_where_values_differ() -> None:
    found = slices(some_ranking(users=103), "popularity", np.random.default_rng(1).permutation(103))
    assert [piece.cases for piece in found] == [26, 26, 26, 25]


@pytest.mark.parametrize(
    ("values", "cases"), [([7] * 60, [60]), ([0] * 50 + [9] * 10, [50, 10]), ([0] + [9] * 59, [1, 59])]
)
def test_equal_values_share_a_bucket(values: list[int], cases: list[int]) -> None:
    found = slices(some_ranking(users=60), "history", np.array(values))
    assert sorted(piece.cases for piece in found) in ([sum(cases)], sorted(cases))
    assert sum(piece.cases for piece in found) == 60
    assert len({piece.low for piece in found}) == len(found)

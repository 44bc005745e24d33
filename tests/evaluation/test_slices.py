"""Slices: every case in one bucket, buckets cut at quantiles, metrics of the bucket's own cases."""

from itertools import pairwise

import numpy as np
import pytest
from made_results import some_ranking

from userrep.evaluation.slices import buckets, slices
from userrep.objectives.classify import Classify
from userrep.objectives.cross_domain import CrossDomain


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


def test_slices_that_begin_at_given_values_hold_what_lies_before_the_next() -> None:
    result, values = some_ranking(users=60), np.arange(60) % 8
    found = slices(result, "earlier_targets", values, starts=(0, 1, 3, 6))
    assert [(piece.low, piece.high) for piece in found] == [(0, 0), (1, 2), (3, 5), (6, 7)]
    for piece in found:
        mask = (values >= piece.low) & (values <= piece.high)
        assert (piece.by, piece.cases) == ("earlier_targets", mask.sum())
        assert piece.metrics == result.subset(mask).metrics()
    assert sum(piece.cases for piece in found) == 60


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        ([0, 0, 0], [(0, 0)]), ([2, 2, 40], [(1, 2), (6, 40)]), ([4], [(3, 5)]), ([0, 3], [(0, 0), (3, 5)]),
        ([1, 3, 6], [(1, 2), (3, 5), (6, 6)]), ([1], [(1, 2)]),
    ],
)  # fmt: skip
def test_a_slice_with_nothing_in_it_is_left_out_and_the_open_one_ends_with_the_largest_value(
    values: list[int], bounds: list[tuple[int, int]]
) -> None:
    found = list(buckets(np.array(values), starts=(0, 1, 3, 6)))
    assert [(bucket.low, bucket.high) for bucket in found] == bounds
    assert np.array([bucket.members for bucket in found]).sum(axis=0).tolist() == [1] * len(values)


def test_earlier_targets_are_sliced_at_the_same_numbers_whatever_the_data_are() -> None:
    assert CrossDomain().slice_starts == {"earlier_targets": (0, 1, 3, 6)}
    assert Classify("age").slice_starts == {}

"""The splits of the protocol, against plain loops."""

from itertools import pairwise

import numpy as np
import pytest

from userrep.sequences.split import FOLDS, TEST, VALID, by_time, chain, folds, leave_one_out, paper


def random_users(seed: int, distinct: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 30, size=60)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    times = np.concatenate([np.sort(rng.integers(0, distinct, size=count)) for count in counts])
    return offsets, times


def test_leave_one_out_cuts_the_last_two_events() -> None:
    train_end, valid_end = leave_one_out(np.array([0, 1, 2, 3, 10]))
    assert train_end.tolist() == [0, 1, 2, 1, 8]
    assert valid_end.tolist() == [0, 1, 2, 2, 9]


def chain_of(times: list[int]) -> tuple[int, int]:
    """Cut one user the slow way."""
    count = len(times)
    cuts = [place for place in range(1, count) if times[place] != times[place - 1]]
    if len(cuts) < 2:
        return count, count
    second = max((place for place in range(1, len(cuts)) if cuts[place] <= count * 9 // 10), default=1)
    first = max((place for place in range(second) if cuts[place] <= count * 8 // 10), default=0)
    return cuts[first], cuts[second]


@pytest.mark.parametrize("distinct", [1, 2, 4, 15, 10_000])
def test_chain_equals_a_plain_loop(distinct: int) -> None:
    offsets, times = random_users(distinct, distinct)
    got = chain(offsets, times)
    spans = pairwise(offsets)
    expected = [chain_of(times[begin:end].tolist()) for begin, end in spans]
    assert list(zip(*(ends.tolist() for ends in got), strict=True)) == expected


def test_chain_never_parts_a_time_and_leaves_no_part_empty() -> None:
    offsets, times = random_users(7, 12)
    counts = np.diff(offsets)
    first, second = chain(offsets, times)
    cut = second < counts
    assert cut.sum() > 20
    assert np.all((first > 0) & (first < second), where=cut)
    for end in (first, second):
        place = (offsets[:-1] + end)[cut]
        assert np.all(times[place] > times[place - 1])


def test_chain_without_times_cuts_at_80_and_90_percent() -> None:
    first, second = chain(np.array([0, 20, 23, 25]), None)
    assert first.tolist() == [16, 1, 2]
    assert second.tolist() == [18, 2, 2]


def test_time_parts_all_users_at_the_same_moments() -> None:
    offsets, times = random_users(3, 1000)
    ends = by_time(offsets, times)
    assert ends is not None
    position = np.arange(len(times)) - np.repeat(offsets[:-1], np.diff(offsets))
    train = position < np.repeat(ends[0], np.diff(offsets))
    test = position >= np.repeat(ends[1], np.diff(offsets))
    assert times[train].max() < times[~train].min()
    assert times[~test].max() < times[test].min()
    assert abs(train.mean() - 0.8) < 0.02
    assert abs(test.mean() - 0.1) < 0.02


@pytest.mark.parametrize("times", [[], [5, 5, 5], [1, 2]])
def test_time_is_not_offered_where_times_are_too_few(times: list[int]) -> None:
    assert by_time(np.array([0, len(times)]), np.array(times, dtype=np.int64)) is None


USERS = [f"u{number}" for number in range(103)]


def test_folds_test_each_user_once_and_validate_on_a_tenth_of_the_rest() -> None:
    roles = np.stack(folds(USERS, 0))
    assert roles.shape == (FOLDS, len(USERS))
    assert np.all((roles == TEST).sum(axis=0) == 1)
    assert sorted((roles == TEST).sum(axis=1).tolist()) == [20, 20, 21, 21, 21]
    assert set((roles == VALID).sum(axis=1).tolist()) == {8}


def test_folds_depend_on_raw_ids_and_the_seed_and_on_no_order() -> None:
    roles = np.stack(folds(USERS, 0))
    backwards = np.stack(folds(USERS[::-1], 0))[:, ::-1]
    assert np.array_equal(roles, backwards)
    assert not np.array_equal(roles, np.stack(folds(USERS, 1)))


def test_paper_divides_80_5_15() -> None:
    (roles,) = paper([str(number) for number in range(100)], 0)
    assert np.bincount(roles).tolist() == [80, 5, 15]


def test_splits_of_a_single_user_do_not_fail() -> None:
    assert sum((roles == TEST).sum() for roles in folds(["u"], 0)) == 1
    assert len(paper(["u"], 0)[0]) == 1

"""Batches against naive loops: what is a target, where padding is, how lengths are cut."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from userrep.sequences.batches import Cached, Cases, Histories, Windows, gather, histories, shuffled
from userrep.sequences.vocab import PAD, RESERVED


@dataclass
class Toy:
    """Users with sequences of the given lengths; all events differ, so that a target names its place."""

    lengths: list[int]

    def __post_init__(self) -> None:
        self.offsets = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)
        self.items = np.arange(RESERVED, RESERVED + sum(self.lengths), dtype=np.int32)

    def windows(self, length: int, batch_size: int, held_out: int = 0) -> Windows:
        begins = self.offsets[:-1]
        ends = np.maximum(begins, self.offsets[1:] - held_out)
        return Windows(self.items, begins, ends, np.arange(len(self.lengths)), length, batch_size)

    def cases(self) -> Cases:
        rows = np.arange(len(self.lengths))
        return Cases(rows, self.offsets[1:].copy(), rows % 3)

    def histories(self, length: int, batch_size: int) -> Histories:
        return Histories(self.items, self.offsets, self.cases(), length, batch_size)


LENGTHS = st.lists(st.integers(0, 30), min_size=1, max_size=12)
TOYS = LENGTHS.map(Toy)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@settings(max_examples=60)
@given(toy=TOYS, length=st.integers(1, 40))
def test_histories_equal_a_loop_that_slices_and_pads(toy: Toy, length: int) -> None:
    found = histories(toy.items, toy.offsets, toy.cases(), length) if len(toy.items) else None
    for user in range(len(toy.lengths)) if found is not None else []:
        own = toy.items[toy.offsets[user] : toy.offsets[user + 1]].tolist()[-length:]
        assert found[user].tolist() == [PAD] * (length - len(own)) + own


def test_gather_reads_nothing_from_a_neighbour() -> None:
    flat = np.arange(10, 20)
    found = gather(flat, np.array([4, 0, 9]), np.array([6, 0, 10]), 4)
    assert found.tolist() == [[0, 0, 14, 15], [0, 0, 0, 0], [0, 0, 0, 19]]
    assert found.dtype == np.int64


@settings(max_examples=80)
@given(
    toy=TOYS,
    length=st.integers(1, 12),
    batch_size=st.integers(1, 9),
    held_out=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_every_training_event_but_a_users_first_is_a_target_once_an_epoch(
    toy: Toy, length: int, batch_size: int, held_out: int, seed: int
) -> None:
    feed = toy.windows(length, batch_size, held_out)
    targets: Counter[int] = Counter()
    for index in feed.order(generator(seed)):
        batch = feed.batch(index)
        assert len(batch.items) <= batch_size
        assert batch.items.shape == batch.targets.shape
        assert batch.items.shape[1] <= length
        targets.update(batch.targets[batch.targets != PAD].tolist())
    wanted = Counter(
        item
        for begin, count in zip(toy.offsets, toy.lengths, strict=False)
        for item in toy.items[begin + 1 : begin + max(1, count - held_out)].tolist()
    )
    assert targets == wanted


@settings(max_examples=60)
@given(toy=TOYS, length=st.integers(1, 12), batch_size=st.integers(1, 9))
def test_a_window_holds_consecutive_events_of_its_own_user_behind_its_padding(
    toy: Toy, length: int, batch_size: int
) -> None:
    feed = toy.windows(length, batch_size)
    for index in feed.order(generator()):
        batch = feed.batch(index)
        for items, targets, row in zip(batch.items.tolist(), batch.targets.tolist(), batch.rows.tolist(), strict=True):
            assert [item == PAD for item in items] == [target == PAD for target in targets]
            real = [item for item in items if item != PAD]
            assert items == [PAD] * (len(items) - len(real)) + real
            assert [target for target in targets if target != PAD] == [item + 1 for item in real]
            own = range(RESERVED + toy.offsets[row], RESERVED + toy.offsets[row + 1])
            assert all(item in own for item in (*real, real[-1] + 1))


def test_a_batch_is_as_wide_as_its_longest_window() -> None:
    feed = Toy([3, 9, 5, 2]).windows(length=20, batch_size=2)
    for index in feed.order(generator()):
        batch = feed.batch(index)
        assert (batch.items != PAD).any(dim=0).all()


def test_windows_are_cut_elsewhere_in_another_epoch() -> None:
    feed = Toy([200]).windows(length=10, batch_size=4)
    firsts = {min(index[:, 1].min() for index in feed.order(generator(epoch))) for epoch in range(20)}
    assert len(firsts) > 3


def test_users_with_one_event_or_none_give_no_window() -> None:
    feed = Toy([1, 0, 1]).windows(length=5, batch_size=2)
    assert feed.order(generator()) == []


@pytest.mark.parametrize("kind", ["windows", "histories"])
def test_an_order_repeats_from_its_seed_and_differs_from_another(kind: str) -> None:
    toy = Toy([12, 7, 30, 3, 18] * 6)
    feed = toy.windows(5, 4) if kind == "windows" else toy.histories(5, 4)
    first, again, other = (feed.order(generator(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(left, right) for left, right in zip(first, again, strict=True))
    assert not all(np.array_equal(left, right) for left, right in zip(first, other, strict=False))


@settings(max_examples=60)
@given(toy=TOYS, length=st.integers(1, 40), batch_size=st.integers(1, 9))
def test_each_case_is_fed_once_an_epoch_with_its_newest_items_and_its_target(
    toy: Toy, length: int, batch_size: int
) -> None:
    if not len(toy.items):
        return
    feed, seen = toy.histories(length, batch_size), []
    for index in feed.order(generator()):
        batch = feed.batch(index)
        for items, target, row in zip(batch.items.tolist(), batch.targets.tolist(), batch.rows.tolist(), strict=True):
            own = toy.items[toy.offsets[row] : toy.offsets[row + 1]].tolist()[-length:]
            assert items == [PAD] * (len(items) - len(own)) + own
            assert target == row % 3
            seen.append(row)
    assert sorted(seen) == list(range(len(toy.lengths)))


@settings(max_examples=60)
@given(count=st.integers(0, 300), batch_size=st.integers(1, 20), by_length=st.booleans())
def test_a_shuffled_order_holds_each_example_once_in_batches_of_the_size(
    count: int, batch_size: int, by_length: bool
) -> None:
    lengths = np.arange(count) % 7 if by_length else None
    order = shuffled(count, batch_size, generator(), lengths)
    assert sorted(np.concatenate(order).tolist() if order else []) == list(range(count))
    assert sum(len(batch) < batch_size for batch in order) <= 1


def test_alike_lengths_share_a_batch_and_batches_come_in_random_order() -> None:
    lengths = generator(1).integers(1, 100, size=4000)
    order = shuffled(4000, 20, generator(), lengths)
    spread = np.mean([np.ptp(lengths[batch]) for batch in order])
    assert spread < 15
    means = np.array([lengths[batch].mean() for batch in order])
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.3


def test_cached_vectors_follow_their_examples() -> None:
    toy = Toy([4, 9, 2, 6, 7])
    feed = Cached(toy.histories(5, 2), torch.arange(5.0)[:, None])
    for index in feed.order(generator()):
        batch = feed.batch(index)
        assert batch.user is not None
        assert batch.user[:, 0].tolist() == batch.rows.tolist()
        assert batch.to(torch.device("cpu")).user is not None

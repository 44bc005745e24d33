"""Ranks counted in tiles against ranks found by sorting, and bit-equality over every way to cut the work."""

import numpy as np
import pytest
import torch

from userrep.errors import DivergedError
from userrep.evaluation.negatives import uniform_negatives
from userrep.evaluation.ranking import (
    Csr,
    DotScorer,
    count_above,
    count_competitors,
    encode_in_tiles,
)
from userrep.evaluation.results import RankingResult
from userrep.sequences.vocab import RESERVED


def histories(rng: np.random.Generator, users: int, vocab_size: int, longest: int = 30) -> Csr:
    lengths = rng.integers(0, longest, users)
    ends = np.cumsum(lengths)
    items = rng.integers(RESERVED, vocab_size, int(lengths.sum())).astype(np.int32)
    return Csr(items, ends - lengths, ends)


def naive_counts(scores: np.ndarray, targets: np.ndarray, history: Csr) -> tuple[list[int], list[int]]:
    greater, ties = [], []
    for row, target in enumerate(targets):
        seen = {int(item) for item in history.items[history.starts[row] : history.ends[row]]}
        rivals = [item for item in range(RESERVED, scores.shape[1]) if item != target and item not in seen]
        greater.append(sum(scores[row, item] > scores[row, target] for item in rivals))
        ties.append(sum(scores[row, item] == scores[row, target] for item in rivals))
    return greater, ties


@pytest.mark.parametrize(("users", "vocab_size", "width"), [(70, 300, 4), (3, 5, 2), (300, 4200, 3)])
def test_counts_equal_a_naive_loop_where_scores_tie_often(users: int, vocab_size: int, width: int) -> None:
    rng = np.random.default_rng(users)
    states = rng.integers(-2, 3, (users, width)).astype(np.float32)  # small whole numbers: exact, many ties
    table = rng.integers(-2, 3, (vocab_size, width)).astype(np.float32)
    bias = rng.integers(-1, 2, vocab_size).astype(np.float32)
    targets = rng.integers(RESERVED, vocab_size, users)
    history = histories(rng, users, vocab_size)
    scorer = DotScorer(torch.from_numpy(states), torch.from_numpy(table), torch.from_numpy(bias))
    greater, ties = count_above(scorer, targets, history, vocab_size)
    expected = naive_counts(states @ table.T + bias, targets, history)
    assert (greater.tolist(), ties.tolist()) == expected
    assert vocab_size < 100 or ties.sum() > 0


def test_a_target_in_its_own_history_is_ranked_and_a_repeated_item_leaves_once() -> None:
    table = torch.tensor([[0.0], [0.0], [1.0], [2.0], [3.0], [4.0]])
    history = Csr(np.array([2, 4, 4, 4], dtype=np.int32), np.array([0]), np.array([4]))
    greater, ties = count_above(DotScorer(torch.ones(1, 1), table), np.array([2]), history, 6)
    assert greater.tolist() == [2]  # items 3 and 5; 4 is history, 2 the target
    assert ties.tolist() == [0]


def test_reserved_ids_are_never_candidates() -> None:
    table = torch.tensor([[9.0], [9.0], [1.0], [0.0]])
    greater, ties = count_above(DotScorer(torch.ones(1, 1), table), np.array([2]), None, 4)
    assert (greater.tolist(), ties.tolist()) == ([0], [0])


def test_an_item_equal_to_the_target_ties_with_it_wherever_it_stands() -> None:
    generator = torch.Generator().manual_seed(0)
    for width in (16, 50, 64):
        vector = torch.randn(width, generator=generator)
        table = vector.repeat(9001, 1)
        states = torch.randn(130, width, generator=generator)
        greater, ties = count_above(DotScorer(states, table), np.arange(2, 132) * 60, None, 9001)
        assert greater.max() == 0
        assert set(ties.tolist()) == {9001 - RESERVED - 1}


@pytest.mark.parametrize("width", [16, 50, 64])
def test_counts_are_bit_equal_for_any_batch_and_tile(width: int) -> None:
    rng = np.random.default_rng(width)
    generator = torch.Generator().manual_seed(width)
    vocab_size, users = 9_001, 263
    table = torch.randn(vocab_size, width, generator=generator) / 1e4  # near ties everywhere
    table[:4_500] = table[4_501:]  # and exact ones, far apart
    states = torch.randn(users, width, generator=generator)
    targets = rng.integers(RESERVED, vocab_size, users)
    history = histories(rng, users, vocab_size)
    found = [
        count_above(DotScorer(states, table), targets, history, vocab_size, tile_users=batch, tile_items=tile)
        for batch in (1, 7, 256)
        for tile in (64, 4096, 20_000)
    ]
    for greater, ties in found[1:]:
        assert np.array_equal(greater, found[0][0])
        assert np.array_equal(ties, found[0][1])


def test_users_ranked_one_by_one_rank_as_they_do_together() -> None:
    rng = np.random.default_rng(1)
    generator = torch.Generator().manual_seed(1)
    states, table = torch.randn(9, 48, generator=generator), torch.randn(5_000, 48, generator=generator)
    targets = rng.integers(RESERVED, 5_000, 9)
    together, _ = count_above(DotScorer(states, table), targets, None, 5_000)
    alone = [count_above(DotScorer(states[n : n + 1], table), targets[n : n + 1], None, 5_000)[0] for n in range(9)]
    assert np.concatenate(alone).tolist() == together.tolist()


def test_sampled_counts_equal_a_naive_loop_over_the_negatives() -> None:
    rng = np.random.default_rng(3)
    states, table = rng.integers(-2, 3, (40, 3)), rng.integers(-2, 3, (500, 3))
    targets, history = rng.integers(RESERVED, 500, 40), histories(rng, 40, 500)
    negatives = uniform_negatives(np.arange(40), targets, 500, count=99, seed=5)
    scorer = DotScorer(torch.from_numpy(states).float(), torch.from_numpy(table).float())
    counts = count_competitors(scorer, targets, history, 500, negatives)
    scores = states @ table.T
    for row, target in enumerate(targets):
        drawn = scores[row, negatives[row]]
        assert counts.sampled_greater is not None
        assert counts.sampled_ties is not None
        assert counts.sampled_greater[row] == (drawn > scores[row, target]).sum()
        assert counts.sampled_ties[row] == (drawn == scores[row, target]).sum()


def test_negatives_are_uniform_over_all_items_but_the_target() -> None:
    targets = np.full(20_000, 4)
    drawn = uniform_negatives(np.arange(20_000), targets, vocab_size=12, count=5)
    counts = np.bincount(drawn.ravel(), minlength=12)
    assert counts[:RESERVED].sum() == 0
    assert counts[4] == 0
    others = np.delete(counts, [0, 1, 4])
    assert np.abs(others / others.mean() - 1).max() < 0.05


def test_a_users_negatives_do_not_depend_on_the_batch_but_on_the_seed() -> None:
    keys, targets = np.arange(50), np.arange(50) + RESERVED
    drawn = uniform_negatives(keys, targets, 1000, seed=1)
    apart = np.concatenate(
        [uniform_negatives(keys[n : n + 7], targets[n : n + 7], 1000, seed=1) for n in range(0, 50, 7)]
    )
    assert np.array_equal(drawn, apart)
    assert not np.array_equal(drawn, uniform_negatives(keys, targets, 1000, seed=2))


def test_a_vocabulary_of_one_item_ranks_first() -> None:
    result = RankingResult.rank(np.array([0]), np.array([2]), DotScorer(torch.ones(1, 1), torch.ones(3, 1)), None, 3)
    assert result.metrics()["ndcg@10"] == 1.0
    assert result.metrics()["ndcg@10@uni99"] == 1.0


@pytest.mark.parametrize("place", ["users", "items"])
def test_scores_that_are_no_numbers_are_refused_instead_of_ranked_first(place: str) -> None:
    states, table = torch.ones(2, 3), torch.ones(9, 3)
    (states if place == "users" else table)[1, 1] = torch.nan
    with pytest.raises(DivergedError, match="not finite"):
        DotScorer(states, table)


def test_reported_scores_keep_full_precision_under_autocast() -> None:
    generator = torch.Generator().manual_seed(2)
    states, table = torch.randn(20, 32, generator=generator), torch.randn(800, 32, generator=generator)
    targets = np.arange(20) + RESERVED
    plain = count_above(DotScorer(states, table), targets, None, 800)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lowered = count_above(DotScorer(states, table), targets, None, 800)
    assert torch.get_float32_matmul_precision() == "medium"
    torch.set_float32_matmul_precision(before)
    assert np.array_equal(plain[0], lowered[0])


@pytest.mark.parametrize("count", [0, 1, 64, 65, 130, 192])
def test_encoding_in_tiles_gives_each_case_its_own_row(count: int) -> None:
    sizes: list[int] = []

    def encode(start: int, stop: int) -> torch.Tensor:
        sizes.append(stop - start)
        return torch.arange(start, stop, dtype=torch.float32)[:, None]

    found = encode_in_tiles(encode, count)
    assert found[:, 0].tolist() == list(range(count))
    assert count <= 64 or set(sizes) == {64}

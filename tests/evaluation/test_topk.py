"""The k best items: equal to a sort of all scores, ties by id, whatever the tiles, in little memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from userrep.evaluation.ranking import Csr, DotScorer
from userrep.evaluation.topk import top_items


def made(users: int = 300, items: int = 9_000, coarse: bool = False) -> tuple[DotScorer, np.ndarray, Csr]:
    """Draw users, items and what the users have seen; `coarse` makes many equal scores."""
    rng = np.random.default_rng(0)
    scale = (lambda drawn: np.round(drawn)) if coarse else (lambda drawn: drawn)
    states, table = (torch.from_numpy(scale(rng.normal(size=(n, 4)))).float() for n in (users, items))
    bias = torch.zeros(items) if coarse else torch.randn(items, generator=torch.Generator().manual_seed(0))
    lengths = rng.integers(0, 50, users)
    ends = np.cumsum(lengths)
    seen = Csr(rng.integers(2, items, ends[-1]).astype(np.int32), ends - lengths, ends)
    return DotScorer(states, table, bias), (states @ table.T + bias).numpy(), seen


@pytest.mark.parametrize("coarse", [False, True])
def test_the_best_are_those_of_a_sort_of_everything_with_ties_by_id(coarse: bool) -> None:
    scorer, scores, seen = made(coarse=coarse)
    ids, found = top_items(scorer, len(scores), 10, seen, scores.shape[1])
    for user, row in enumerate(scores):
        row = row.copy()
        row[[0, 1, *seen.items[seen.starts[user] : seen.ends[user]]]] = -np.inf
        expected = np.lexsort((np.arange(len(row)), -row))[:10]
        if coarse:  # the sums are exact, so are the ties
            assert ids[user].tolist() == expected.tolist()
        assert found[user] == pytest.approx(row[expected], abs=1e-5)
    few, _ = top_items(scorer, len(scores), 3, seen, scores.shape[1])
    assert np.array_equal(few, ids[:, :3])


def test_all_equal_scores_give_the_lowest_ids_that_were_not_seen() -> None:
    scorer = DotScorer(torch.zeros(2, 3), torch.zeros(9_000, 3))
    seen = Csr(np.array([3, 2, 5]), np.array([0, 3]), np.array([3, 3]))
    ids, _ = top_items(scorer, 2, 3, seen, 9_000)
    assert ids.tolist() == [[4, 6, 7], [2, 3, 4]]


def test_where_too_few_are_left_the_rest_is_padding() -> None:
    scorer = DotScorer(torch.ones(1, 2), torch.ones(6, 2))
    ids, scores = top_items(scorer, 1, 5, Csr(np.array([2, 3]), np.array([0]), np.array([2])), 6)
    assert ids.tolist() == [[4, 5, 0, 0, 0]]
    assert scores[0, 2:].tolist() == [-np.inf] * 3


def test_negative_and_zero_scores_keep_their_order() -> None:
    table = torch.tensor([[0.0], [0.0], [-1.5], [-0.0], [0.0], [2.0], [-1e30]])
    ids, scores = top_items(DotScorer(torch.ones(1, 1), table), 1, 5, None, 7)
    assert ids.tolist() == [[5, 3, 4, 2, 6]]
    assert scores[0].tolist() == pytest.approx([2.0, 0.0, 0.0, -1.5, -1e30])


MEASURE = """
import re
import numpy as np, torch
from userrep.evaluation.ranking import DotScorer
from userrep.evaluation.topk import top_items

def kibibytes(field):
    return int(re.search(field + r":\\s+(\\d+)", open("/proc/self/status").read())[1])

table, states = torch.randn(1_000_002, 16), torch.randn(300, 16)
open("/proc/self/clear_refs", "w").write("5")
before = kibibytes("VmRSS")
top_items(DotScorer(states, table), 300, 10, None, 1_000_002)
print(kibibytes("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is read from Linux's /proc")
def test_the_best_of_a_million_items_take_less_than_a_hundred_mebibytes() -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    mebibytes = int(done.stdout) / 1024
    assert mebibytes < 100, f"{mebibytes:.0f} MiB above the weights"

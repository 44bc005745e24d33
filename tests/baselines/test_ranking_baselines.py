"""Baselines of the next item against naive loops and closed forms."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from userrep.baselines import item_knn
from userrep.baselines.ease import Ease
from userrep.baselines.item_knn import ItemKNN
from userrep.baselines.markov import Markov
from userrep.baselines.popularity import Popularity
from userrep.baselines.ranker import BACKOFF
from userrep.baselines.recency import recent_bags
from userrep.build import build
from userrep.config import compose
from userrep.errors import ConfigError, UsageError
from userrep.evaluation.ranking import Csr
from userrep.files import read_yaml
from userrep.groups import conf_dir
from userrep.objectives.next_item import NextItem
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared, open_prepared

PROTOCOL = Protocol(pretrain_users="all")


def next_item() -> NextItem:
    made: NextItem = build(read_yaml(conf_dir() / "task" / "next_item.yaml"))
    return made


def training(data: Prepared) -> list[list[int]]:
    sequences, ends = data.sequences(), data.split("leave_one_out").train_end
    starts = sequences.offsets[:-1]
    return [sequences.items[start : start + end].tolist() for start, end in zip(starts, ends, strict=True)]


def naive_rank(scores: dict[int, float], history: list[int], target: int, vocab_size: int) -> float:
    rivals = [item for item in range(2, vocab_size) if item not in history and item != target]
    own = scores.get(target, 0.0)
    above = sum(scores.get(item, 0.0) > own + 1e-9 for item in rivals)
    ties = sum(abs(scores.get(item, 0.0) - own) <= 1e-9 for item in rivals)
    return 1 + above + ties / 2


def histories(data: Prepared) -> tuple[list[list[int]], list[int]]:
    cases, sequences = next_item().cases(data, PROTOCOL, "test"), data.sequences()
    begins = sequences.offsets[cases.rows]
    before = [sequences.items[start:end].tolist() for start, end in zip(begins, cases.ends, strict=True)]
    return before, cases.targets.tolist()


def test_popularity_ranks_by_training_counts(prepared: Prepared) -> None:
    result = Popularity().fit_predict(prepared, PROTOCOL, next_item())
    counts = Counter(item for row in training(prepared) for item in row)
    before, targets = histories(prepared)
    size = prepared.sequences().vocab_size
    expected = [naive_rank(counts, *pair, size) for pair in zip(before, targets, strict=True)]
    assert result.table()["rank"].tolist() == expected


@pytest.mark.parametrize(("memory", "decay", "reach"), [(1, 1.0, 1), (4, 0.5, 1), (3, 0.9, 2)])
def test_markov_ranks_as_a_naive_loop_does(prepared: Prepared, memory: int, decay: float, reach: int) -> None:
    result = Markov(memory, [decay], reach, reach_decay=0.75).fit_predict(prepared, PROTOCOL, next_item())
    follows: dict[int, Counter[int]] = {}
    counts: Counter[int] = Counter()
    for row in training(prepared):
        counts.update(row)
        for place, item in enumerate(row):
            for step in range(1, reach + 1):
                if place + step < len(row):
                    follows.setdefault(item, Counter())[row[place + step]] += 0.75 ** (step - 1)  # type: ignore[assignment]
    before, targets = histories(prepared)
    size, ranks = prepared.sequences().vocab_size, result.table()["rank"]
    for index, (history, target) in enumerate(zip(before, targets, strict=True)):
        scores = {item: BACKOFF * count / counts.total() for item, count in counts.items()}
        for age, item in enumerate(history[::-1][:memory]):
            leaving = follows.get(item, Counter())
            for other, weight in leaving.items():
                scores[other] = scores.get(other, 0.0) + decay**age * weight / sum(leaving.values())
        assert abs(ranks[index] - naive_rank(scores, history, target, size)) <= 0.5  # fp32 may part a tie


def test_markov_needs_a_memory_a_reach_and_a_decay() -> None:
    for arguments in ({"memory": 0}, {"reach": 0}, {"decays": []}):
        with pytest.raises(ConfigError, match="Markov"):
            Markov(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("decay", [1.0, 0.7])
def test_item_knn_ranks_as_a_naive_loop_does(prepared: Prepared, decay: float) -> None:
    result = ItemKNN([4], [2.0], [decay]).fit_predict(prepared, PROTOCOL, next_item())
    rows = [set(row) for row in training(prepared)]
    size = prepared.sequences().vocab_size
    held = np.array([[item in row for item in range(size)] for row in rows], dtype=float)
    cosine = held.T @ held / (np.sqrt(np.outer(held.sum(axis=0), held.sum(axis=0))) + 2.0)
    np.fill_diagonal(cosine, 0.0)
    for row in cosine:
        row[np.argsort(-row, kind="stable")[4:]] = 0.0
    counts = Counter(item for row in training(prepared) for item in row)
    share = np.array([BACKOFF * counts[item] / counts.total() for item in range(size)])
    compare(prepared, result.table()["rank"].tolist(), lambda history: share + bag(history, size, decay) @ cosine)


@pytest.mark.parametrize("decay", [1.0, 0.7])
def test_ease_is_steck_s_closed_form(prepared: Prepared, decay: float) -> None:
    result = Ease([20.0], [decay]).fit_predict(prepared, PROTOCOL, next_item())
    size = prepared.sequences().vocab_size
    held = np.array([[item in row for item in range(size)] for row in training(prepared)], dtype=float)
    inverse = np.linalg.inv(held.T @ held + 20.0 * np.eye(size))
    table = np.eye(size) - inverse @ np.diag(1 / np.diag(inverse))
    assert np.allclose(np.diag(table), 0)
    compare(prepared, result.table()["rank"].tolist(), lambda history: bag(history, size, decay) @ table)


def bag(history: list[int], size: int, decay: float) -> np.ndarray:
    weights = np.zeros(size)
    for age, item in enumerate(history[::-1]):
        weights[item] = max(weights[item], decay**age)
    return weights


def compare(data: Prepared, found: list[float], score: Callable[[list[int]], np.ndarray]) -> None:
    size = data.sequences().vocab_size
    for rank, history, target in zip(found, *histories(data), strict=True):
        scores = dict(enumerate(score(history[-PROTOCOL.history :])))
        assert abs(rank - naive_rank(scores, history, target, size)) <= 0.5  # fp32 may part a tie


def test_ease_of_many_items_is_refused_with_its_memory(prepared: Prepared) -> None:
    with pytest.raises(UsageError, match="62 take 0 GiB") as caught:
        Ease(limit=61).fit_predict(prepared, PROTOCOL, next_item())
    assert "baseline.limit" in caught.value.hint


def test_bags_count_an_item_at_its_newest_place_within_the_history() -> None:
    events = Csr(np.array([7, 3, 5, 3, 4, 9]), np.array([1, 4, 4]), np.array([4, 6, 4]))
    assert recent_bags(events, 10, 0.5).toarray()[0].tolist() == [0, 0, 0, 1, 0, 0.5, 0, 0, 0, 0]
    assert recent_bags(events, 10, 0.5, history=1).nonzero()[1].tolist() == [3, 9]
    assert recent_bags(events, 10)[1].nonzero()[1].tolist() == [4, 9]
    assert recent_bags(events, 10)[2].nnz == 0


def test_similarities_do_not_depend_on_the_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    read, chosen = (sparse.csr_matrix((rng.random((30, count)) < 0.3).astype(float)) for count in (11, 7))
    whole = item_knn.similarities(read, chosen, (0.0, 3.0), 2, same=False)
    monkeypatch.setattr(item_knn, "TILE", 3 * 7)
    parted = item_knn.similarities(read, chosen, (0.0, 3.0), 2, same=False)
    for shrinkage, table in whole.items():
        assert np.diff(table.indptr).max() == 2
        assert (table != parted[shrinkage]).nnz == 0


@pytest.mark.real_data
def test_markov10_gives_what_was_measured_on_ml_1m() -> None:
    data = open_prepared(Path("data"), compose("preprocess", ["dataset=ml-1m"])["dataset"])
    found = Markov(10, [0.6]).fit_predict(data, PROTOCOL, next_item()).metrics()["ndcg@10"]
    assert found == pytest.approx(0.145, abs=0.002)

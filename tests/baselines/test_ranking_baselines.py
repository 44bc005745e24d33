"""Popularity and Markov against naive loops."""

from collections import Counter
from pathlib import Path

import pytest

from userrep.baselines.markov import Markov
from userrep.baselines.popularity import Popularity
from userrep.baselines.ranker import BACKOFF
from userrep.build import build
from userrep.config import compose
from userrep.errors import ConfigError
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


@pytest.mark.real_data
def test_markov10_gives_what_was_measured_on_ml_1m() -> None:
    data = open_prepared(Path("data"), compose("preprocess", ["dataset=ml-1m"])["dataset"])
    found = Markov(10, [0.6]).fit_predict(data, PROTOCOL, next_item()).metrics()["ndcg@10"]
    assert found == pytest.approx(0.145, abs=0.002)

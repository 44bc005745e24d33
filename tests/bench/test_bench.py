"""The benchmark runs, and both its ways compute the same; no time is asserted here."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pandas")

from bench import plain
from bench.__main__ import main
from bench.pairs import Disagreement, Turn, Turns, can_measure_memory, peak_memory, take_turns
from bench.workspace import QUICK, Data


@pytest.mark.timeout(400)
def test_the_quick_run_writes_every_case(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--seconds", "0.01", "--out", str(tmp_path / "quick.json")]) == 0
    report = json.loads((tmp_path / "quick.json").read_text())
    assert {result["group"] for result in report["results"]} == {
        "preparation",
        "batches",
        "training step",
        "conure step",
        "table update",
        "patch step",
        "head epoch",
        "time to equal NDCG@20",
        "routed reading",
        "evaluation",
    }
    assert {result["items"] for result in report["results"]} == {size.items for size in QUICK}
    assert all(result["plain_left_out"] or result["ratio"] > 0 for result in report["results"])
    assert {"cpu", "threads"} <= report["machine"].keys()
    assert "torch" in report["versions"]
    assert report["conure_step_cost"] > 0
    assert set(report["routing_cost"]) == {"policy mean", "policy conv"}
    if can_measure_memory():
        assert report["evaluation_within_limit"]
    assert "plain / ours" in capfd.readouterr().out


def test_a_name_that_fits_no_case_is_refused(tmp_path: Path) -> None:
    assert main(["--quick", "--only", "no such case", "--out", str(tmp_path / "quick.json")]) == 2
    assert not list(tmp_path.iterdir())


def test_pandas_and_our_preparation_give_the_same_sequences(tmp_path: Path) -> None:
    data = Data(QUICK[0], tmp_path)
    data.make()
    sequences = data.prepared.sequences()
    raw = np.array(sequences.item_ids)
    ours = {
        int(user): raw[sequences.items[begin:end] - plain.FIRST].astype(int).tolist()
        for user, begin, end in zip(data.prepared.user_ids, sequences.offsets[:-1], sequences.offsets[1:], strict=True)
    }
    theirs = plain.prepare(data.csv, tmp_path / "plain.npz")
    names = np.load(tmp_path / "plain.npz")["names"]
    assert {user: names[np.array(items) - plain.FIRST].tolist() for user, items in theirs.items()} == ours


def test_ways_that_disagree_are_not_compared() -> None:
    with pytest.raises(Disagreement):
        take_turns(lambda: 1.0, lambda: 1.1, seconds=0.01, tolerance=1e-3)
    assert take_turns(lambda: 1.0, lambda: 1.1, seconds=0.01, tolerance=None).ratio is not None


def test_the_ratio_is_the_median_over_turns() -> None:
    ours, plain = [Turn(1.0, 0.5)] * 3, [Turn(2.0, 0.5), Turn(30.0, 0.6), Turn(4.0, 0.4)]
    assert Turns(ours, plain).ratio == 4.0
    assert Turns(ours, plain).processor_ratio == 1.0
    assert Turns(ours, []).ratio is None
    assert Turns([Turn(1.0, 0.25)], [Turn(1.0, 0.25)]).waiting == 0.75


@pytest.mark.skipif(not can_measure_memory(), reason="this system does not tell a process's peak")
def test_the_peak_counts_memory_that_is_given_back() -> None:
    def work() -> float:
        return float(np.ones(8 << 20).sum())  # 64 MiB

    assert 60 < peak_memory(work) < 80

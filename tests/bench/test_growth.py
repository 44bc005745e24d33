"""Growth is measured at every kind of work, counts what is multiplied, and is drawn where matplotlib is installed."""

import json
from pathlib import Path

import pytest

pytest.importorskip("pandas")

from bench import growth
from bench.growth import BY_ITEMS, BY_LENGTH, USERS, WIDTH, _work


@pytest.mark.parametrize("kind", [*BY_ITEMS, *BY_LENGTH])
def test_each_kind_of_work_runs_and_multiplies_something(kind: str) -> None:
    work, multiplications = _work(kind, 40)
    assert work() == pytest.approx(_work(kind, 40)[0]())
    assert multiplications > 0


def test_taps_that_read_padding_are_not_charged() -> None:
    _, one = _work("NextItNet", 1)
    assert one == 3 * USERS * 16 * WIDTH**2  # of three taps of sixteen convolutions, those of the step itself


def test_the_picture_is_drawn_of_the_file(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    points = [
        {"kind": kind, "size": size, "seconds": size / 100, "share": 0.5, "peak_mib": None if kind == "SASRec" else 3.0}
        for kind in (*BY_ITEMS, *BY_LENGTH)
        for size in (10, 100)
    ]
    report = {"machine": {"cpu": "X", "threads": 1}, "limits": {"gflops": 33.0, "gigabytes": 9.0}, "points": points}
    (tmp_path / "growth.json").write_text(json.dumps(report))
    arguments = ["--draw", "--out", str(tmp_path / "growth.json"), "--picture", str(tmp_path / "growth.png")]
    assert growth.main(arguments) == 0
    assert (tmp_path / "growth.png").stat().st_size > 10_000

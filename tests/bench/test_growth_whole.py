"""Whole commands are measured against events and devices, and drawn where matplotlib is installed."""

import json
from pathlib import Path

import pytest

pytest.importorskip("pandas")

from bench import growth_whole
from bench.pairs import can_measure_memory


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not can_measure_memory(), reason="this system does not tell a process's peak")
def test_preparation_and_training_are_measured_and_one_device_is_the_limit_of_the_others(tmp_path: Path) -> None:
    out = tmp_path / "whole.json"
    sizes = ["--events", "5000", "20000", "--devices", "1", "2", "--trained-on", "20000"]
    assert growth_whole.main([*sizes, "--folder", str(tmp_path), "--out", str(out)]) == 0
    points = json.loads(out.read_text())["points"]
    assert [(point["kind"], point["size"]) for point in points] == [
        ("preparation", 5000), ("preparation", 20000), ("training", 1), ("training", 2)
    ]  # fmt: skip
    assert all(point["seconds"] > 0 and point["peak_mib"] > 50 for point in points)
    one, two = points[2:]
    assert one["share"] == 1
    assert two["share"] == pytest.approx(one["seconds"] / (2 * two["seconds"]))
    assert two["peak_mib"] > 1.3 * one["peak_mib"]  # of both processes
    assert [path.name for path in tmp_path.iterdir()] == ["whole.json"]


def test_the_picture_is_drawn_of_the_file(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    points = [
        {"kind": kind, "size": size, "seconds": 3.0 * size, "share": 1 / size, "peak_mib": 3.0 + size}
        for kind in ("preparation", "training")
        for size in (1, 2)
    ]
    report = {"machine": {"cpu": "X", "threads": 1}, "limits": {"gigabytes": 9.0}, "points": points}
    (tmp_path / "whole.json").write_text(json.dumps(report))
    arguments = ["--draw", "--out", str(tmp_path / "whole.json"), "--picture", str(tmp_path / "whole.png")]
    assert growth_whole.main(arguments) == 0
    assert (tmp_path / "whole.png").stat().st_size > 10_000

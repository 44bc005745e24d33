"""Preparing stays below its limit of memory, children counted, as the system sees it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc, which tells the peak")
@pytest.mark.timeout(900)  # seconds on a free machine, minutes on a crowded one
def test_two_million_events_are_prepared_in_less_than_half_a_gibibyte(tmp_path: Path) -> None:
    sizes = ["--events", "2000000", "--users", "200000", "--items", "20000", "--memory", "480MiB"]
    command = [sys.executable, "-m", "bench.hundred_million", "--folder", str(tmp_path), *sizes]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(TOP), "POLARS_MAX_THREADS": "2"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert len(told["hash"]) == 64
    assert 50 < told["peak_mib"] < 480
    assert "by way of the disk" in done.stderr
    assert not (tmp_path / "data").exists()

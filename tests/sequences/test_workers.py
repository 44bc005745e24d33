"""Preparing on a cluster gives the folder of the way on one machine, and the errors of its pieces."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from userrep.datasets.table import Table
from userrep.errors import DataError, UsageError
from userrep.sequences.prepare import prepare, prepare_streaming
from userrep.sequences.stream import Sizes
from userrep.sequences.workers import Here, OnRay, workers_on

SIZES = Sizes(block=4000, shares=3, events=500)


def events(folder: Path) -> Table:
    (folder / "events").mkdir(exist_ok=True)
    for number in range(3):
        rows = [(f"u{index * 7 % 50}", f"i{index % 31}", index // 5, number) for index in range(number, 1200, 2)]
        frame = pl.DataFrame(rows, ["user", "item", "time", "rating"], orient="row")
        frame.write_csv(folder / "events" / f"{number}.csv")
    return Table(name="mine", path=str(folder / "events"), rating="rating", ties="random")


@pytest.fixture(scope="module")
def ray() -> Any:
    module = pytest.importorskip("ray", reason="the extra ray is not installed")
    module.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield module
    module.shutdown()


def test_a_cluster_makes_the_same_folder(tmp_path: Path, ray: Any) -> None:
    dataset = events(tmp_path)
    one = prepare(dataset, {"name": "mine"}, tmp_path / "raw", tmp_path / "whole").path
    other = prepare_streaming(
        dataset, {"name": "mine"}, tmp_path / "raw", tmp_path / "far", sizes=SIZES, workers=OnRay()
    ).path
    for path in one.rglob("*"):
        if path.is_file():
            assert (other / path.relative_to(one)).read_bytes() == path.read_bytes(), path.name


def test_an_error_on_the_cluster_is_told_as_here(tmp_path: Path, ray: Any) -> None:
    dataset = events(tmp_path)
    (tmp_path / "events" / "1.csv").write_text("user,time\nu,1\n")
    with pytest.raises(DataError, match="has no column 'item'") as caught:
        prepare_streaming(dataset, {"name": "mine"}, tmp_path / "raw", tmp_path / "far", sizes=SIZES, workers=OnRay())
    assert caught.value.hint


def test_an_unknown_engine_is_refused_and_none_means_here() -> None:
    assert isinstance(workers_on(None), Here)
    with pytest.raises(UsageError, match="no engine"):
        workers_on("rai")

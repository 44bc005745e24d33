"""The per-user table on disk: what is written comes back, a user of several cases included."""

import sys
from pathlib import Path

import numpy as np
import pytest
from made_results import several_cases, some_classification

from userrep.errors import DataError
from userrep.evaluation.per_user import read_per_user, stored, write_per_user
from userrep.evaluation.results import JointResult, RankingResult


def test_a_user_with_several_cases_keeps_all_of_them_and_is_numbered_alike_in_all_tables(tmp_path: Path) -> None:
    names = [f"u{row:02}" for row in range(30)]
    made = [several_cases(seed=1), several_cases(seed=2).subset(np.arange(9))]
    for index, result in enumerate(made):
        write_per_user(tmp_path / f"{index}.parquet", result, names)
    for before, after in zip(made, read_per_user([tmp_path / "0.parquet", tmp_path / "1.parquet"]), strict=True):
        assert isinstance(after, RankingResult)
        assert np.array_equal(before.users, after.users)
        assert np.array_equal(before.targets, after.targets)
        assert before.metrics() == after.metrics()


def test_a_table_of_classes_comes_back_with_their_names(tmp_path: Path) -> None:
    before = some_classification(users=9, classes=3)
    write_per_user(tmp_path / "one.parquet", before, [str(row) for row in range(9)])
    after = read_per_user([tmp_path / "one.parquet"])[0]
    assert after.metrics() == before.metrics()


@pytest.fixture
def without_polars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)  # as if it were not installed


@pytest.mark.parametrize("kind", ["ranking", "classes", "joint"])
def test_without_polars_arrays_hold_the_same(tmp_path: Path, kind: str, without_polars: None) -> None:
    of_classes = some_classification(users=30, classes=3)
    joint = JointResult.of({"file": several_cases(1), "../x": of_classes}, {"file": "ndcg@10", "../x": "log_loss"})
    before = {"ranking": several_cases(seed=1), "classes": of_classes, "joint": joint}[kind]
    path, names = tmp_path / "per_user.parquet", [f"ü{row:02}" for row in range(30)]
    write_per_user(path, before, names)
    assert [place.name for place in tmp_path.iterdir()] == ["per_user.npz"]
    assert stored(path) == tmp_path / "per_user.npz"
    after = read_per_user([path])[0]
    assert type(after) is type(before)
    assert after.metrics() == before.metrics()
    for column, values in before.table().items():
        np.testing.assert_array_equal(after.table()[column], values)


def test_arrays_and_a_table_are_numbered_alike_and_the_newer_of_the_two_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, path = [f"u{row:02}" for row in range(30)], tmp_path / "one.parquet"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "polars", None)
        write_per_user(path, several_cases(seed=1), names)
    write_per_user(tmp_path / "two.parquet", several_cases(seed=2).subset(np.arange(9)), names)
    both = read_per_user([path, tmp_path / "two.parquet"])
    assert both[0].metrics() == several_cases(seed=1).metrics()
    assert set(both[1].users) <= set(both[0].users)
    write_per_user(path, several_cases(seed=3), names)
    assert sorted(place.name for place in tmp_path.iterdir()) == ["one.parquet", "two.parquet"]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "polars", None)
        write_per_user(path, several_cases(seed=1), names)
    assert sorted(place.name for place in tmp_path.iterdir()) == ["one.npz", "two.parquet"]


def test_damaged_arrays_are_refused(tmp_path: Path) -> None:
    for content in (b"", b"PK no more", b"\x93NUMPY"):
        (tmp_path / "one.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"one\.npz"):
            read_per_user([tmp_path / "one.parquet"])


def test_what_is_no_such_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"one\.parquet"):
        read_per_user([tmp_path / "one.parquet"])

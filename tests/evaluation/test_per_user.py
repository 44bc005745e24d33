"""The per-user table on disk: what is written comes back, a user of several cases included."""

from pathlib import Path

import numpy as np
import pytest
from made_results import several_cases, some_classification

from userrep.errors import DataError
from userrep.evaluation.per_user import read_per_user, write_per_user
from userrep.evaluation.results import RankingResult


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


def test_what_is_no_such_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"one\.parquet"):
        read_per_user([tmp_path / "one.parquet"])

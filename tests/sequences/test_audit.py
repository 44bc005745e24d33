"""The leak audit finds what is planted on disk, and passes what preparing makes."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from listed import prepared_from, user_of

from userrep.errors import DataError
from userrep.sequences.audit import Finding, audit, enforce
from userrep.sequences.store import Prepared


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    events = [event for user in "uvwxyz" for event in user_of(user, "abcdefghij")]
    return prepared_from(tmp_path, events).path


def failed(folder: Path) -> list[Finding]:
    return [finding for finding in audit(Prepared(folder)) if not finding.ok]


def change_array(folder: Path, kind: str, place: int, value: int) -> None:
    path = folder / "domains" / "main" / f"{kind}.npy"
    values = np.load(path)
    values[place] = value
    np.save(path, values)


def change_runs(folder: Path, **columns: pl.Expr) -> None:
    path = folder / "splits.parquet"
    pl.read_parquet(path).with_columns(**columns).write_parquet(path)


def test_what_preparing_makes_passes_every_check(folder: Path) -> None:
    findings = audit(Prepared(folder))
    assert len(findings) > 10
    assert all(finding.ok for finding in findings)
    assert (folder / "audit.json").exists()


def test_an_event_later_than_the_next_is_found(folder: Path) -> None:
    change_array(folder, "times", 3, 99)
    assert failed(folder)[0].detail == "1 events out of order"


def test_the_first_event_of_a_user_may_be_earlier_than_the_last_of_another(folder: Path) -> None:
    change_array(folder, "times", 9, 99)
    assert not any("later" in finding.check for finding in failed(folder))


def test_an_event_that_is_there_twice_is_found(folder: Path) -> None:
    items = np.load(folder / "domains" / "main" / "items.npy")
    change_array(folder, "times", 9, 8)
    change_array(folder, "items", 9, int(items[8]))
    assert "1 copies" in [finding.detail for finding in failed(folder)]


def test_a_vocabulary_ordered_by_test_events_is_found(folder: Path) -> None:
    path = folder / "domains" / "main" / "items.parquet"
    table = pl.read_parquet(path)
    table.with_columns(count=pl.lit(6, pl.Int64)).write_parquet(path)  # every event counted, the last two too
    told = [finding.check for finding in failed(folder)]
    assert told == ["the vocabulary is ordered without its users' last two events"]


def test_training_on_a_test_target_is_found(folder: Path) -> None:
    last = (pl.col("split") == "leave_one_out") & (pl.col("role") == "valid") & (pl.col("user") == "u")
    change_runs(folder, position=pl.when(last).then(9).otherwise("position"))
    checks = [finding.check for finding in failed(folder)]
    assert "training holds no user's last two events" in checks
    assert "no event has two roles" in checks


def test_a_cut_between_events_of_one_time_is_found(folder: Path) -> None:
    change_array(folder, "times", 8, 7)
    found = failed(folder)
    assert ("chain, main", "1 cuts do") in [(finding.where, finding.detail) for finding in found]


def test_training_after_the_global_cut_is_found(folder: Path) -> None:
    late = (pl.col("split") == "time") & (pl.col("role") == "valid") & (pl.col("user") == "u")
    change_runs(folder, position=pl.when(late).then(9).otherwise("position"))
    assert "nothing after the cut is trained on" in [finding.check for finding in failed(folder)]


def test_a_test_user_who_trains_too_is_found(folder: Path) -> None:
    path = folder / "splits.parquet"
    table = pl.read_parquet(path)
    tested = table.filter(pl.col("split") == "folds", pl.col("fold") == 0, pl.col("role") == "test").head(1)
    pl.concat([table, tested.with_columns(role=pl.lit("train"))]).write_parquet(path)
    assert "test users are no training users" in [finding.check for finding in failed(folder)]


def test_a_user_tested_in_two_folds_is_found(folder: Path) -> None:
    everyone = (pl.col("split") == "folds") & (pl.col("user") == "u")
    change_runs(folder, role=pl.when(everyone).then(pl.lit("test")).otherwise("role"))
    assert "over the folds no user is tested twice" in [finding.check for finding in failed(folder)]


def test_a_finding_that_does_not_hold_is_a_data_error() -> None:
    enforce([Finding("a check", "here", True, "fine")], "toy")
    with pytest.raises(DataError, match=r"a check \(here: 3 leaks") as caught:
        enforce([Finding("a check", "here", False, "3 leaks")], "toy")
    assert caught.value.hint


def test_an_imported_split_of_folds_that_tests_a_user_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    rows = [f"mine,{fold},{user},0,{'test' if user == 'u' else 'train'}" for fold in (0, 1) for user in "uv"]
    file.write_text("\n".join(["split,fold,user,position,role", *rows]))
    with pytest.raises(DataError, match="tested twice"):
        prepared_from(tmp_path, user_of("u", "abc") + user_of("v", "abc"), split_file=file)
    assert not (tmp_path / "prepared").exists()

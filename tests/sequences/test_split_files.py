"""Splits as files: what is exported is what is imported, and what does not fit is refused by name."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from listed import prepared_from, user_of

from userrep.errors import ConfigError, DataError
from userrep.sequences.protocol import Protocol, check_kinds
from userrep.sequences.store import Prepared

EVENTS = user_of("u", "abcdefghij") + user_of("v", "bcdea", [1, 2, 2, 2, 9]) + user_of("w", "c")


def write(path: Path, rows: list[tuple[object, ...]], columns: str = "split fold user position role") -> Path:
    path.write_text("\n".join(",".join(map(str, row)) for row in [tuple(columns.split()), *rows]) + "\n")
    return path


def test_the_export_has_the_documented_columns_and_runs(tmp_path: Path) -> None:
    table = pl.read_parquet(prepared_from(tmp_path, EVENTS).path / "splits.parquet")
    assert table.columns == ["split", "fold", "domain", "user", "position", "role"]
    runs = table.filter(split="leave_one_out").select("user", "position", "role").rows()
    assert runs == [
        ("u", 0, "train"), ("u", 8, "valid"), ("u", 9, "test"),
        ("v", 0, "train"), ("v", 3, "valid"), ("v", 4, "test"),
        ("w", 0, "train"),
    ]  # fmt: skip


def test_exported_splits_come_back_the_same_under_another_name(tmp_path: Path) -> None:
    first = prepared_from(tmp_path / "first", EVENTS)
    table = pl.read_parquet(first.path / "splits.parquet").with_columns(split=pl.lit("my ") + pl.col("split"))
    file = tmp_path / "mine.parquet"
    table.sample(fraction=1.0, shuffle=True, seed=0).write_parquet(file)
    second = prepared_from(tmp_path / "second", EVENTS, split_file=file)
    for entry in first.meta["splits"]:
        for fold in range(entry["folds"]):
            mine, built = second.split(f"my {entry['name']}", fold), first.split(entry["name"], fold)
            assert mine.hash == built.hash
            for part in ("train_end", "valid_end", "user_role"):
                assert np.array_equal(getattr(mine, part), getattr(built, part))


def test_a_whole_export_may_be_imported_as_it_is(tmp_path: Path) -> None:
    first = prepared_from(tmp_path / "first", EVENTS)
    second = prepared_from(tmp_path / "second", EVENTS, split_file=first.path / "splits.parquet")
    assert second.meta["splits"] == first.meta["splits"]


def test_without_a_domain_column_one_row_a_user_means_a_split_of_users(tmp_path: Path) -> None:
    rows = [("mine", 0, "u", 0, "train"), ("mine", 0, "v", 0, "valid"), ("mine", 0, "w", 0, "test")]
    prepared = prepared_from(tmp_path, EVENTS, split_file=write(tmp_path / "mine.csv", rows))
    split = prepared.split("mine")
    assert split.user_role.tolist() == [0, 1, 2]
    assert split.train_end.tolist() == split.valid_end.tolist() == [10, 5, 1]


def test_without_a_domain_column_further_rows_mean_a_split_of_events(tmp_path: Path) -> None:
    rows = [("mine", 0, "u", 0, "train"), ("mine", 0, "u", 4, "test"), ("mine", 0, "v", 0, "valid")]
    rows += [("mine", 0, "w", 0, "test")]
    split = prepared_from(tmp_path, EVENTS, split_file=write(tmp_path / "mine.csv", rows)).split("mine")
    assert split.train_end.tolist() == [4, 0, 0]
    assert split.valid_end.tolist() == [4, 5, 0]
    assert split.user_role.tolist() == [0, 0, 0]


CUT = [("mine", 0, user, place, role) for user in "uv" for place, role in ((0, "train"), (1, "test"))]
CUT.append(("mine", 0, "w", 0, "train"))
FITS = [("mine", 0, "u", 0, "train"), ("mine", 0, "v", 0, "train"), ("mine", 0, "w", 0, "test")]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*FITS, ("mine", 0, "nobody", 0, "train")], "row 4: unknown user 'nobody'"),
        ([*FITS[:2], ("mine", 0, "w", 0, "exam")], "row 3: unknown role 'exam'"),
        ([*FITS[:2], ("mine", 0, "w", -1, "test")], "row 3: unknown position -1"),
        ([*FITS[:2], ("mine", 0, "w", "x", "test")], "row 3: position is 'x'"),
        ([*FITS[:2], ("mine", "", "w", 0, "test")], "row 3: fold is None"),
        (FITS[:2], "user 'w' has no row"),
        ([("mine", 0, "u", 2, "train"), *FITS[1:]], "user 'u' does not begin at position 0"),
        ([*FITS, ("mine", 0, "u", 0, "test")], "user 'u' has two roles at one position"),
        ([*FITS, ("mine", 0, "v", 5, "test")], "user 'v' has a position past its last event"),
        ([("mine", 0, "u", 0, "test"), *FITS[1:], ("mine", 0, "u", 5, "train")], "must train, then validate"),
        ([("mine", 1, *row[2:]) for row in FITS], "has the folds"),
        ([*CUT, *((name, 1, *row) for name, _, *row in CUT)], "cuts events and has 2 folds"),
        ([("folds", *row[1:]) for row in FITS], "differs from the one userrep makes"),
        ([], "has no rows"),
    ],
)
def test_a_split_that_does_not_fit_is_refused_by_name(
    tmp_path: Path, rows: list[tuple[object, ...]], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        prepared_from(tmp_path, EVENTS, split_file=write(tmp_path / "mine.csv", rows))
    assert caught.value.hint
    assert not (tmp_path / "prepared").exists()


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.csv", [("mine", "u", 0, "train")], "split user position role")
    with pytest.raises(DataError, match="no column 'fold'; it has split, user, position, role"):
        prepared_from(tmp_path, EVENTS, split_file=file)


@pytest.mark.parametrize("name", ["absent.csv", "absent.parquet"])
def test_a_missing_file_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="there is no split file"):
        prepared_from(tmp_path, EVENTS, split_file=tmp_path / name)


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "mine.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match="cannot read the split file"):
        prepared_from(tmp_path, EVENTS, split_file=tmp_path / "mine.parquet")


def test_only_splits_of_users_depend_on_the_seed_and_an_unknown_name_lists_the_known(tmp_path: Path) -> None:
    events = [event for number in range(20) for event in user_of(f"u{number}", "abcd")]
    one, other = (prepared_from(tmp_path / str(seed), events, split_seed=seed) for seed in (0, 1))
    assert one.split("folds").hash == one.split("folds", 4).hash != other.split("folds").hash
    assert one.split("leave_one_out").hash == other.split("leave_one_out").hash
    with pytest.raises(DataError, match="no split 'fold'") as caught:
        one.split("fold")
    assert "folds" in caught.value.hint
    with pytest.raises(DataError, match="no fold 5"):
        one.split("folds", 5)


def test_a_prepared_set_opens_from_its_folder_alone(tmp_path: Path) -> None:
    made = prepared_from(tmp_path, EVENTS)
    again = Prepared(made.path)
    assert again.hash == made.hash
    assert np.array_equal(again.sequences().items, made.sequences().items)
    assert isinstance(again.sequences().items, np.memmap)


def test_a_split_of_the_other_kind_or_an_unknown_readout_is_refused_by_the_protocol(tmp_path: Path) -> None:
    data = prepared_from(tmp_path, EVENTS)
    check_kinds(data, Protocol())
    for key, name, told, hint in (
        ("events", "folds", "no split of events", "leave_one_out"),
        ("events", "foo", "no split of", "chain"),
        ("users", "chain", "no split of users", "folds"),
    ):
        with pytest.raises(ConfigError, match=told) as caught:
            check_kinds(data, Protocol(**{key: name}))
        assert hint in caught.value.hint
    with pytest.raises(ConfigError, match="unknown part 'foo'"):
        Protocol(readout="mean+foo")

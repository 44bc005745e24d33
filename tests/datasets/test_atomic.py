"""RecBole's atomic files of any data set."""

from pathlib import Path

import pytest

from userrep.datasets.atomic import Atomic, read_atomic
from userrep.errors import DataError
from userrep.sequences.prepare import prepare

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def test_fields_are_read_as_text_with_their_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "x.user", "user_id:token\tzip:token\r\n1\t00501\r\n\r\n2\t92683-1892\r\n")
    assert read_atomic(path).rows() == [(2, "1", "00501"), (4, "2", "92683-1892")]


def test_events_labels_and_titles_are_taken_from_their_files(tmp_path: Path) -> None:
    write(tmp_path / "raw" / "x.inter", INTER + 'p_u\ti1\t3\t10\np_u\ti2\t4.5\t1e1\np_v\t"i1\t1\t9.0\n')
    write(tmp_path / "raw" / "x.user", "user_id:token\tage:token\np_u\t30\n")
    write(tmp_path / "raw" / "x.item", "item_id:token\tname:token_seq\ni1\tThe first\n")
    dataset = Atomic(name="x", user_prefix="p_", text_field="name", labels=["age"])
    prepared = prepare(dataset, {"name": "x"}, tmp_path / "raw", tmp_path / "out")
    assert prepared.user_ids == ["u", "v"]
    assert prepared.labels("age").tolist() == [0, -1]
    sequences = prepared.sequences()
    assert sequences.times.tolist() == [10, 10, 9]
    assert sequences.ratings.tolist() == [3, 4.5, 1]
    assert dict(zip(sequences.item_ids, sequences.texts, strict=True)) == {"i1": "The first", "i2": None, '"i1': None}


def test_a_set_without_times_or_ratings_says_so(tmp_path: Path) -> None:
    write(tmp_path / "raw" / "x.inter", "user_id:token\titem_id:token\nu\tb\nu\ta\n")
    dataset = Atomic(name="x", time_field=None, rating_field=None)
    prepared = prepare(dataset, {"name": "x"}, tmp_path / "raw", tmp_path / "out")
    assert prepared.sequences().times is None
    assert prepared.sequences().ratings is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (INTER, "has no rows"),
        ("user_id\titem_id:token\n", "line 1: the field 'user_id' has no type"),
        ("user_id:token\tthing:token\nu\ta\n", "no field 'item_id'"),
        (INTER + "u\ta\t3\n", "line 2: 3 field"),
        (INTER + "u\ta\t3\t9\nu\ta\tgood\t9\n", "line 3: rating is 'good', not a number"),
        (INTER + "u\ta\t3\t9.5\n", "line 2: time is '9.5', not a whole number"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path / "x.inter", text)
    with pytest.raises(DataError, match=message) as caught:
        Atomic(name="x").events(tmp_path)
    assert caught.value.hint


def test_no_file_and_two_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has 0 files \*.inter"):
        Atomic(name="x").events(tmp_path)
    write(tmp_path / "x.inter", INTER)
    write(tmp_path / "y.inter", INTER)
    with pytest.raises(DataError, match=r"has 2 files \*.inter"):
        Atomic(name="x").events(tmp_path)

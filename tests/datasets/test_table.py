"""Your own csv or tsv: read as it is, and refused with the line that is at fault."""

import gzip
from pathlib import Path

import pytest

from userrep.datasets.table import Table
from userrep.errors import DataError
from userrep.sequences.prepare import prepare
from userrep.sequences.store import Prepared

GOOD = "user,item,time\nu,a,1\nu,b,2\nu,c,3\nv,a,5\n"


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def made(path: Path, **options: object) -> Prepared:
    dataset = Table(name="mine", path=str(path), **options)  # type: ignore[arg-type]
    return prepare(dataset, {"name": "mine"}, path.parent / "raw", path.parent / "prepared")


def test_a_csv_becomes_sequences(tmp_path: Path) -> None:
    prepared = made(write(tmp_path / "events.csv", GOOD))
    assert prepared.user_ids == ["u", "v"]
    assert prepared.sequences().times.tolist() == [1, 2, 3, 5]


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("\n", "\r\n"),
        "\ufeff" + GOOD,
        GOOD.rstrip(),
        GOOD.replace("u,b,2\n", "u,b,2\n\n"),
        "time,extra,item,user\n1,x,a,u\n2,,b,u\n3.0,z,c,u\n5,x,a,v\n",
    ],
    ids=["crlf", "byte order mark", "no last newline", "empty line", "other columns"],
)
def test_the_same_events_written_otherwise_have_the_same_hash(tmp_path: Path, text: str) -> None:
    expected = made(write(tmp_path / "events.csv", GOOD)).hash
    (tmp_path / "other").mkdir()
    assert made(write(tmp_path / "other" / "events.csv", text)).hash == expected


def test_tabs_and_gzip_follow_from_the_name(tmp_path: Path) -> None:
    expected = made(write(tmp_path / "events.csv", GOOD)).hash
    assert made(write(tmp_path / "events.tsv", GOOD.replace(",", "\t"))).hash == expected
    assert made(write(tmp_path / "events.csv.gz", gzip.compress(GOOD.encode()))).hash == expected


def test_quoted_fields_hold_separators_and_lines(tmp_path: Path) -> None:
    text = 'user,item,time\nu,"a, the ""first""",1\nu,"b\nc",2\n'
    assert sorted(made(write(tmp_path / "e.csv", text)).sequences().item_ids) == ['a, the "first"', "b\nc"]


def test_quotes_are_text_where_quoting_is_off(tmp_path: Path) -> None:
    prepared = made(write(tmp_path / "e.csv", 'user,item,time\nu,"a,1\nu,b",2\n'), quote=None)
    assert sorted(prepared.sequences().item_ids) == ['"a', 'b"']


def test_a_value_that_looks_otherwise_deep_in_the_file_is_no_trouble(tmp_path: Path) -> None:
    rows = "".join(f"{number},{number % 7},{number}\n" for number in range(5000)) + "92683-1892,x-1,5000\n"
    prepared = made(write(tmp_path / "e.csv", "user,item,time\n" + rows))
    assert prepared.user_ids[-1] == "92683-1892"


def test_columns_may_have_other_names_and_ratings_and_domains(tmp_path: Path) -> None:
    text = "who,what,stars,shop\nu,a,4.5,books\nu,b,1,toys\n"
    columns = {"user": "who", "item": "what", "time": None, "rating": "stars", "domain": "shop"}
    prepared = made(write(tmp_path / "e.csv", text), **columns)
    assert prepared.domains == ["books", "toys"]
    assert prepared.sequences("books").ratings.tolist() == [4.5]
    assert prepared.sequences().times is None


def test_labels_come_from_a_file_of_users_and_may_be_missing(tmp_path: Path) -> None:
    users = write(tmp_path / "users.csv", "user,age\nu,30\nv,\nstranger,40\n")
    prepared = made(write(tmp_path / "e.csv", GOOD + "w,a,1\n"), users_path=str(users), labels=["age"])
    assert prepared.labels("age").tolist() == [0, -1, -1]
    assert prepared.classes("age") == ["30"]


def test_a_user_with_one_event_and_duplicates_are_no_trouble(tmp_path: Path) -> None:
    prepared = made(write(tmp_path / "e.csv", GOOD + "u,a,1\nu,a,1\n"))
    assert prepared.meta["duplicates"] == 2
    assert prepared.split("leave_one_out").train_end.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("user,item,time\n", "has a header and no rows"),
        ("user,thing,time\nu,a,1\n", "no column 'item'; it has user, thing, time"),
        (GOOD + "w,a,soon\n", "line 6: time is 'soon', not a number"),
        (GOOD + "w,a,nan\n", "line 6: time is 'nan'"),
        (GOOD + "w,a,1,9\n", "line 6: 4 fields, the header has 3"),
        (GOOD + "w\n", "line 6: 1 fields, the header has 3"),
        (GOOD + ",a,1\n", "line 6: there is no user"),
        (GOOD + 'w,"",1\n', "line 6: there is no item"),
        (GOOD + "w,a,\n", "line 6: there is no time"),
        ('user,item,time\nu,"a\nb",1\n\nu,a,soon\n', "line 5: time is 'soon'"),
        (GOOD + 'w,"a,1\nx,a,2\n', "line 6: a quote is left open"),
        (GOOD.encode() + b"w,\xe9,1\n", "line 6: not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_one_error_with_its_line_and_a_remedy(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        made(write(tmp_path / "e.csv", text))
    assert caught.value.hint
    assert not (tmp_path / "prepared").exists()


def test_missing_and_truncated_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file"):
        made(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="cannot read"):
        made(write(tmp_path / "e.csv.gz", gzip.compress(GOOD.encode() * 50)[:-9]))
    with pytest.raises(DataError, match="has no file") as caught:
        Table(name="mine").events(tmp_path)
    assert "dataset.path=" in caught.value.hint


def test_users_listed_twice_and_missing_label_columns_are_errors(tmp_path: Path) -> None:
    events = write(tmp_path / "e.csv", GOOD)
    twice = write(tmp_path / "twice.csv", "user,age\nu,3\nu,4\n")
    with pytest.raises(DataError, match="lists user 'u' twice"):
        made(events, users_path=str(twice), labels=["age"])
    with pytest.raises(DataError, match="no column 'sex'"):
        made(events, users_path=str(twice), labels=["sex"])

"""Tables in all their files: the same rows from each, and each broken row named, whatever broke it."""

import csv
import gzip
import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from userrep.datasets.faults import Faults
from userrep.datasets.rows import glance, read_rows
from userrep.errors import DataError

ROWS = [("u1", "a", "10"), ("u2", 'b, the "second"', "11"), ("u1", "c\nd", None), ("u3", "é", "12")]
NAMES = ["user", "item", "time"]


def as_csv(separator: str = ",") -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerows([NAMES, *ROWS])
    return text.getvalue().encode()


def as_objects() -> bytes:
    return "".join(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in ROWS).encode()


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def read(path: Path, names: list[str] = NAMES, **options: object) -> tuple[list[tuple], list[tuple[int, str]]]:
    """Return the rows without their lines, and the faults."""
    frame, faults = read_rows(path, names, **options)  # type: ignore[arg-type]
    return frame.select(names).rows(), faults.lines.rows()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("e.csv", as_csv()), ("e.csv.gz", gzip.compress(as_csv(), mtime=0)), ("e.tsv", as_csv("\t")),
        ("e.txt", as_csv(";")), ("e.jsonl", as_objects()), ("e.ndjson.gz", gzip.compress(as_objects(), mtime=0)),
        ("e.csv", b"\xef\xbb\xbf" + as_csv()),
    ],
)  # fmt: skip
def test_the_same_rows_come_from_every_kind_of_file(tmp_path: Path, name: str, content: bytes) -> None:
    path = write(tmp_path / name, content)
    assert read(path) == (ROWS, [])
    seen = glance(path)
    assert seen.columns == NAMES
    assert seen.rows.select(NAMES).rows() == ROWS


def test_parquet_numbers_and_moments_become_plain_text(tmp_path: Path) -> None:
    times = pl.Series("time", [1.7e12, None], dtype=pl.Float64).cast(pl.Int64).cast(pl.Datetime("ms"))
    frame = pl.DataFrame({"user": [1.0, 2.0], "item": ["a", ""], "time": times, "x": [0.5, None], "l": [[1], [2]]})
    frame.write_parquet(tmp_path / "events")
    rows, faults = read_rows(tmp_path / "events", ["user", "item", "time", "x"])
    assert rows.rows() == [("1", "a", "2023-11-14T22:13:20.000", "0.5", 1), ("2", None, None, None, 2)]
    assert faults.unit == "row"
    with pytest.raises(DataError, match="'l' holds lists"):
        read_rows(tmp_path / "events", ["l"])
    whole = (tmp_path / "events").read_bytes()
    with pytest.raises(DataError, match="cannot read"):
        read_rows(write(tmp_path / "half", whole[: len(whole) // 2]), ["user"])


def test_a_row_knows_the_line_it_begins_on(tmp_path: Path) -> None:
    frame, _ = read_rows(write(tmp_path / "e.csv", as_csv() + b'\n\nu9,"x\n\n\ny",3\nu9,z,4\n'), NAMES)
    assert frame["line"].to_list() == [2, 3, 4, 6, 9, 13]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("u", "1 fields, the header has 3"),
        ("u,a,1,2", "4 fields, the header has 3"),
        ('u,"a",1,"2"', "4 fields, the header has 3"),
        ('u,"a,1', "a quote is left open"),
        ('u,"a"b,1', "a quote in the middle of a field"),
    ],
)
def test_a_broken_line_takes_no_other_with_it(tmp_path: Path, line: str, fault: str) -> None:
    good = "".join(f'u{number},"i {number}",{number}\n' for number in range(5))
    later = 'v,"two\nlines",7\nw,"x, y",8\n'
    path = write(tmp_path / "e.csv", f"user,item,time\n{good}{line}\n{good}{later}".encode())
    rows, faults = read(path)
    assert [row[1] for row in rows] == [f"i {number}" for number in [*range(5), *range(5)]] + ["two\nlines", "x, y"]
    assert [number for number, _ in faults] == [7]
    assert fault in faults[0][1]


def test_every_broken_line_is_told_in_order_with_what_is_not_text_and_what_is_no_object(tmp_path: Path) -> None:
    path = write(tmp_path / "e.csv", b"user,item,time\nu,\xff,1\nu,a,2\nu,a\n")
    assert [(line, fault[:9]) for line, fault in read(path)[1]] == [(2, "not UTF-8"), (4, "2 fields,")]
    path = write(tmp_path / "e.jsonl", as_objects() + b'{"user": "u", "item"\n[1]\n{"item": "x", "user": "v"}\n')
    rows, faults = read(path)
    assert [(line, fault) for line, fault in faults] == [(5, "not a JSON object"), (6, "not a JSON object")]
    assert rows[-1] == ("v", "x", None)


def test_numbers_and_odd_keys_of_objects_are_kept_to_the_last_digit(tmp_path: Path) -> None:
    objects = [{"a 'b'": 12345678901234567890, "$.c": True}, {"a 'b'": 1.5, "$.c": "x"}]
    path = write(tmp_path / "e.jsonl", "\n".join(json.dumps(found) for found in objects).encode())
    assert read(path, ["a 'b'", "$.c"])[0] == [("12345678901234567890", "true"), ("1.5", "x")]


def test_objects_that_polars_does_not_read_are_read_or_named_and_none_is_lost(tmp_path: Path) -> None:
    lines = [
        '{"user": "a", "item": "x", "time": 1, "price": NaN}',
        '{"user": 123456789012345678901, "item": "x", "time": -9223372036854775809}',
        '{"user": 123456789012345678902, "item": [1, {"b": "c"}], "time": 1e999}',
        r'{"user": "b", "item": "\ud83d", "time": 1}',
        '{"other": 1}',
        "{}",
    ]
    rows, faults = read(write(tmp_path / "e.jsonl", "\n".join(lines).encode()))
    assert rows == [
        ("a", "x", "1"),
        ("123456789012345678901", "x", "-9223372036854775809"),
        ("123456789012345678902", '[1,{"b":"c"}]', "Infinity"),
        (None, None, None),
        (None, None, None),
    ]
    assert faults == [(4, "an object with half a character in a text")]


def test_keys_called_like_our_own_columns_are_read_as_any_other(tmp_path: Path) -> None:
    path = write(tmp_path / "e.jsonl", b'{"text": "a", "parts": "b"}\n{"text": null, "parts": "c"}\n')
    assert read(path, ["text", "parts"])[0] == [("a", "b"), (None, "c")]
    assert read(write(tmp_path / "e.csv", b"text,parts\na,b\n"), ["text", "parts"])[0] == [("a", "b")]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_column_called_line_is_passed_over_and_refused_where_it_is_wanted(tmp_path: Path, kind: str) -> None:
    frame = pl.DataFrame({"user": ["u", "v"], "line": ["foo", "bar"], "item": ["x", "y"]})
    path = tmp_path / f"e.{kind}"
    {"csv": frame.write_csv, "jsonl": frame.write_ndjson, "parquet": frame.write_parquet}[kind](path)
    assert glance(path).rows.select("user", "item").rows() == [("u", "x"), ("v", "y")]
    assert read(path, ["user", "item"])[0] == [("u", "x"), ("v", "y")]
    with pytest.raises(DataError, match="cannot be called 'line'"):
        read(path, ["user", "line"])


def test_a_row_that_has_something_else_alone_is_kept_and_one_of_separators_is_not(tmp_path: Path) -> None:
    path = write(tmp_path / "e.csv", b"user,item,time,more\nu,a,1,x\n,,,lost\n,,,\n")
    for names, expected in ((["user", "item"], [("u", "a"), (None, None)]), (["more"], [("x",), ("lost",)])):
        assert read(path, names) == (expected, [])


def test_columns_of_parquet_that_are_no_text_stop_nobody_who_does_not_read_them(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": ["u"], "tags": [["a"]], "took": pl.Series([1500], dtype=pl.Duration("ms"))})
    frame.write_parquet(tmp_path / "e.parquet")
    assert glance(tmp_path / "e.parquet").columns == ["user", "took"]
    assert read(tmp_path / "e.parquet", ["took"])[0] == [("1500",)]
    with pytest.raises(DataError, match="holds lists"):
        read(tmp_path / "e.parquet", ["tags"])


@pytest.mark.parametrize("unit", ["us", "ns"])
def test_what_parquet_holds_finer_than_a_millisecond_orders_events(tmp_path: Path, unit: str) -> None:
    times = pl.Series("time", [1_700_000_000_000_900, 1_700_000_000_000_100]).cast(pl.Datetime("us"))
    pl.DataFrame({"time": times.dt.cast_time_unit(unit)}).write_parquet(tmp_path / "e.parquet")
    assert [row[0][-7:] for row in read(tmp_path / "e.parquet", ["time"])[0]] == [".000900", ".000100"]


def test_a_file_without_a_header_has_its_columns_named(tmp_path: Path) -> None:
    path = write(tmp_path / "e.csv", b"a,u,5\nb,u,6\n")
    assert read(path, ["user", "time"], header=["item", "user", "time"]) == ([("u", "5"), ("u", "6")], [])
    assert glance(path, header=["item", "user", "time"]).rows["line"].to_list() == [1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"user,item,time\n", "has a header and no rows"),
        (b"user,item,item\nu,a,b\n", "two columns 'item'"),
        ("user,item,time\nu,a,1\n".encode("utf-16"), "is UTF-16"),
        (gzip.compress(as_csv() * 9, mtime=0)[:-9], "cannot read"),
        (b"PK\x03\x04 and more", "a zip archive or a spreadsheet"),
        (b"user,item,time\ru,a,1\ru,b,2\r", "the first line of .* cannot be read"),
        (b"user,thing,time\nu,a,1\n", "no column 'item'"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(write(tmp_path / "e.csv", content))
    assert caught.value.hint
    with pytest.raises(DataError, match="no JSON object a line"):
        read(write(tmp_path / "e.jsonl", b"[1]\nx\n"))


FIELDS = st.lists(st.text(alphabet="ab\",\n' ", max_size=4), min_size=2, max_size=2)


@given(st.lists(FIELDS, min_size=1, max_size=8), st.booleans())
def test_what_the_standard_library_writes_is_read_back(rows: list[list[str]], all_quoted: bool) -> None:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL if all_quoted else csv.QUOTE_MINIMAL, lineterminator="\n")
    writer.writerows([["x", "y"], *rows])
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "e.csv", text.getvalue().encode() + b"end,end\n")
        frame, faults = read_rows(path, ["x", "y"])
    expected = [tuple(value or None for value in row) for row in rows if any(row)]
    assert faults.lines.is_empty()
    assert frame.select("x", "y").rows() == [*expected, ("end", "end")]


def test_broken_rows_are_named_or_left_out_but_not_most_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pl.DataFrame({"line": range(2, 102), "x": "a"})
    faults = Faults(tmp_path / "e.csv")
    assert faults.settle(frame, skip=False) is frame
    for line in range(2, 32):
        faults.add(frame, pl.col("line") == line, pl.lit("bad"))
    faults.add(frame, pl.col("line") == 2, pl.lit("worse"))
    told = r"^30 broken lines of .*e\.csv: line 2: bad; line 3: bad;.*; and 10 more$"
    with pytest.raises(DataError, match=told) as caught:
        faults.settle(frame, skip=False)
    assert "--skip-bad" in caught.value.hint
    assert faults.settle(frame, skip=True)["line"].to_list() == list(range(32, 102))
    assert "left out 30 broken lines" in capsys.readouterr().err
    faults.add(frame, pl.col("line") > 40, pl.lit("bad"))
    with pytest.raises(DataError, match=r"91 of 100 lines of .* are broken"):
        faults.settle(frame, skip=True)


def test_a_separator_of_two_characters_parts_the_header_and_quotes_are_text(tmp_path: Path) -> None:
    path = tmp_path / "t.dat"
    path.write_text('a::b\n1::"x\n2::y"z\n')
    rows, faults = read_rows(path, ["a", "b"], separator="::")
    assert rows.select("a", "b").rows() == [("1", '"x'), ("2", 'y"z')]
    assert faults.lines.is_empty()

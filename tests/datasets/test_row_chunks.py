"""Rows read in chunks are those read at once, wherever the chunks end, and plain rows those of the careful reader."""

import gzip
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from userrep.datasets import rows as reading
from userrep.datasets.blocks import Place
from userrep.datasets.rows import Chunk, read_rows, row_chunks
from userrep.errors import DataError

NAMES = ["a", "c"]
fields = st.sampled_from(["", "x", "12", '"q"', '"p,q"', '"two\nlines"', '"open', 'mid"dle', "ü", " ", '"a""b"'])
texts = st.lists(
    st.one_of(st.lists(fields, min_size=3, max_size=3), st.lists(fields, min_size=1, max_size=4)), max_size=25
)


def joined(chunks: Sequence[Chunk]) -> tuple[pl.DataFrame, list[tuple[int, str]]]:
    faults = [found for chunk in chunks for found in chunk.faults.found]
    told = pl.concat(faults).unique("line", keep="first", maintain_order=True).sort("line").rows() if faults else []
    return pl.concat([chunk.rows for chunk in chunks]), told


def write(path: Path, rows: Sequence[Sequence[str]], end: str = "\n") -> Path:
    path.write_bytes(end.join(["a,b,c", *(",".join(row) for row in rows), ""]).encode())
    return path


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts, st.integers(8, 80), st.sampled_from(["\n", "\r\n"]))
def test_chunks_of_any_size_hold_the_rows_of_the_whole_file(
    tmp_path: Path, rows: list[list[str]], size: int, end: str
) -> None:
    path = write(tmp_path / "t.csv", rows, end)
    try:
        expected, faults = read_rows(path, NAMES)
    except DataError:
        with pytest.raises(DataError, match="no rows"):
            list(row_chunks(path, NAMES, size))
        return
    chunks = list(row_chunks(path, NAMES, size))
    found, told = joined(chunks)
    assert found.rows() == expected.rows()
    assert told == faults.lines.rows()
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    for place, chunk in enumerate(chunks[:-1]):
        rest = list(row_chunks(path, NAMES, size, begin=chunk.end))
        assert joined(rest)[0].rows() == joined(chunks[place + 1 :])[0].rows()
        assert joined(rest)[1] == joined(chunks[place + 1 :])[1]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from(["", "x", "1", " ", "ü"]), min_size=1, max_size=4), min_size=1, max_size=8))
def test_the_plain_reader_agrees_with_the_careful_one(tmp_path: Path, rows: list[list[str]]) -> None:
    path = write(tmp_path / "t.csv", rows)
    told = []
    for plain in (reading.read_plain, lambda *_: None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reading, "read_plain", plain)
            try:
                frame, faults = read_rows(path, NAMES)
                told.append((frame.rows(), faults.lines.rows()))
            except DataError as error:
                told.append((error.message, error.hint))
    assert told[0] == told[1]


WRITTEN = ["7", "0", "12", "", "-3", "007", "+7", "-0", " 7", "7 ", "7.0", "1e3", "9" * 19, "9" * 20, "x", "ü", "1_0"]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.sampled_from(WRITTEN), min_size=3, max_size=3), min_size=1, max_size=6),
    st.sampled_from([["a"], ["a", "c"], ["a", "b", "c"]]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_numbers_are_those_whose_text_is_in_the_file(
    tmp_path: Path, rows: list[list[str]], numbers: list[str], end: str, ended: bool
) -> None:
    path = write(tmp_path / "t.csv", rows, end)
    if not ended:
        path.write_bytes(path.read_bytes().removesuffix(end.encode()))
    texts = pl.col("a", "b", "c").cast(pl.String)
    told = []
    for asked in ((), numbers):
        try:
            chunks = list(row_chunks(path, ["a", "b", "c"], 40, numbers=asked))
        except DataError as error:
            told.append((error.message, error.hint))
        else:
            frame, faults = joined([replace(chunk, rows=chunk.rows.with_columns(texts)) for chunk in chunks])
            told.append((frame.rows(), faults))
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("rows", "kinds"),
    [
        ([["7", "x", "12"], ["0", "", "-3"]], (pl.Int64, pl.Int64)),
        ([["7", "x", "y"], ["0", "", "z"]], (pl.Int64, pl.String)),
        ([["7", "x", "12"], ["07", "", "3"]], (pl.String, pl.String)),
        ([["7", "x", "1"], ["", "x", "1"]], (pl.Int64, pl.Int64)),
    ],
)
def test_numbers_are_read_as_such_where_no_text_is_lost(
    tmp_path: Path, rows: list[list[str]], kinds: tuple[pl.DataType, pl.DataType]
) -> None:
    path = write(tmp_path / "t.csv", rows)
    (chunk,) = row_chunks(path, NAMES, 1000, numbers=NAMES)
    assert (chunk.rows.schema["a"], chunk.rows.schema["c"]) == kinds


def test_plain_rows_are_not_looked_at_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "t.csv", [["1", "2", "3"]] * 50)
    monkeypatch.setattr(reading._Layout, "fields", lambda *_, **__: pytest.fail("line by line"))
    assert len(pl.concat([chunk.rows for chunk in row_chunks(path, NAMES, 64)])) == 50


def test_packed_text_is_read_in_chunks_and_gone_on_with(tmp_path: Path) -> None:
    text = write(tmp_path / "t.csv", [[str(number), "b", "ü" * (number % 5)] for number in range(300)])
    packed = tmp_path / "t.csv.gz"
    packed.write_bytes(gzip.compress(text.read_bytes()))
    chunks = list(row_chunks(packed, NAMES, 200))
    assert len(chunks) > 5
    assert joined(chunks)[0].equals(read_rows(text, NAMES)[0])
    rest = pl.concat([chunk.rows for chunk in row_chunks(packed, NAMES, 77, begin=chunks[3].end)])
    assert rest.equals(pl.concat([chunk.rows for chunk in chunks[4:]]))


def test_parquet_is_read_in_chunks_and_floats_are_whole_only_if_all_are(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    frame = pl.DataFrame({"a": [float(number) for number in range(99)] + [0.5], "c": [1.0] * 99 + [None], "b": "x"})
    frame.write_parquet(path, row_group_size=30)
    expected, _ = read_rows(path, NAMES)
    chunks = list(row_chunks(path, NAMES, 32 * 7))
    assert len(chunks) == 15
    assert pl.concat([chunk.rows for chunk in chunks]).equals(expected)
    assert expected["a"][0] == "0.0"
    assert expected["c"][0] == "1"
    assert next(row_chunks(path, NAMES, 32, begin=Place(99, 100))).rows.rows() == [("0.5", None, 100)]


def test_objects_may_lack_a_key_in_a_whole_chunk(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": 1, "c": 2}\n' + '{"a": 1}\n' * 40)
    assert pl.concat([chunk.rows for chunk in row_chunks(path, NAMES, 60)]).equals(read_rows(path, NAMES)[0])

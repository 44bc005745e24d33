"""ABXI's `index item|seconds` lines, with raw ids from its maps."""

import json
from pathlib import Path

import polars as pl
import pytest
from shared_files import shared

from userrep.build import build
from userrep.config import compose
from userrep.datasets.abxi import Abxi
from userrep.errors import ConfigError, DataError
from userrep.sequences.prepare import prepare

LINES = "0 1|86400 3|86400 2|172800\n1 4|86400 1|86400"
ITEMS = {"B01": [1, 0], "B02": [2, 0], "B03": [3, 1], "B04": [4, 1]}
FILES = {"sequences": "toy.txt", "items": "items.txt", "users": "users.txt"}


def made(main: str = "kitchen") -> Abxi:
    return Abxi(name="toy", domains=["food", "kitchen"], main=main, **FILES)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "toy.txt").write_text(LINES)
    (folder / "items.txt").write_text(json.dumps(ITEMS))
    (folder / "users.txt").write_text(json.dumps({"A9": 1, "A7": 0}))
    return folder


def test_raw_ids_times_and_domains_come_back_in_the_order_of_the_file(raw: Path) -> None:
    frame = made().events(raw).frame.sort("row").collect()
    assert frame.select("user", "item", "time", "domain").rows() == [
        ("A7", "B01", 86400, "food"), ("A7", "B03", 86400, "kitchen"), ("A7", "B02", 172800, "food"),
        ("A9", "B04", 86400, "kitchen"), ("A9", "B01", 86400, "food"),
    ]  # fmt: skip


@pytest.mark.parametrize("main", ["kitchen", "food"])
def test_one_key_decides_the_direction(raw: Path, tmp_path: Path, main: str) -> None:
    prepared = prepare(made(main), {"name": "toy"}, raw, tmp_path / "out")
    assert prepared.main == main
    assert prepared.sequences("food").times.tolist() == [86400, 172800, 86400]


def test_without_a_map_of_users_an_index_stays(raw: Path) -> None:
    (raw / "users.txt").unlink()
    assert made().events(raw).frame.collect()["user"].unique().sort().to_list() == ["0", "1"]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("toy.txt", "0 1|5\nx 2|5\n", "line 2: number is 'x'"),
        ("toy.txt", "0 1|5\n1 2\n", "line 2: 2 is no item|seconds"),
        ("toy.txt", "0 1|5\n1 2|5|6\n", r"line 2: 2\|5\|6 is no item"),
        ("toy.txt", "0 1|5\n1\n", "line 2: nothing is no item"),
        ("toy.txt", "0 1|5\n1 2|5.5\n", "line 2: time is '5.5'"),
        ("toy.txt", "0 1|5\n1 7|5\n", "line 2: item 7 is not in items.txt"),
        ("toy.txt", "0 1|5\n7 1|5\n", "line 2: user 7 is not in users.txt"),
        ("toy.txt", "0 1|5\n0 2|5\n", "line 1: user 0 has a line already"),
        ("items.txt", "{", "is no JSON"),
        ("items.txt", '{"B01": [1, 2]}', "is no map of items"),
        ("items.txt", "[1]", "is no map of items"),
        ("items.txt", '{"a": [1, 0], "b": [1, 0]}', "gives the index 1 twice"),
        ("users.txt", '{"a": "b"}', "is no map of users"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(raw: Path, file: str, text: str, message: str) -> None:
    (raw / file).write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        made().events(raw)
    assert caught.value.hint


def test_a_main_domain_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="main is 'toys'"):
        made("toys")


def test_the_real_files_have_the_counted_numbers() -> None:
    folder = shared("amazon-food-kitchen")
    frame = build(compose("preprocess", ["dataset=amazon-food-kitchen"])["dataset"]).events(folder).frame.collect()
    assert frame["user"].n_unique() == 7144
    counts = frame.group_by("domain").agg(pl.len(), items=pl.col("item").n_unique()).sort("domain")
    assert counts.rows() == [("food", 83_663, 11_837), ("kitchen", 89_885, 16_258)]
    assert frame.sort("row").select((pl.col("time").diff().over("user") < 0).any()).item() is False
    assert (frame["domain"][0], frame["item"].str.len_chars().unique().to_list()) == ("kitchen", [10])

"""Files of `lineNo TAB ids`, whose numbers say the domain."""

import gzip
from pathlib import Path

import polars as pl
import pytest
from shared_files import shared

from userrep.build import build
from userrep.config import compose
from userrep.datasets.two_domains import TwoDomains
from userrep.errors import ConfigError, DataError
from userrep.sequences.prepare import prepare

BOUNDS = {"food": 4, "kitchen": 9}


def made(main: str = "kitchen", **changes: object) -> TwoDomains:
    return TwoDomains(name="toy", files=["train", "test"], bounds=BOUNDS, main=main, **changes)  # type: ignore[arg-type]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two files whose line numbers collide, one of them packed and without a last newline."""
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "train.txt").write_bytes(b"1\t0,5,3,8\r\n2\t4\r\n\r\n")
    (folder / "test.txt.gz").write_bytes(gzip.compress(b"1\t3,3,5"))
    return folder


def test_users_of_all_files_stay_apart_and_numbers_say_the_domain(raw: Path) -> None:
    frame = made().events(raw).frame.sort("row").collect()
    assert frame.select("user", "item", "domain").rows() == [
        ("train-1", "0", "food"), ("train-1", "5", "kitchen"), ("train-1", "3", "food"), ("train-1", "8", "kitchen"),
        ("train-2", "4", "kitchen"),
        ("test-1", "3", "food"), ("test-1", "3", "food"), ("test-1", "5", "kitchen"),
    ]  # fmt: skip
    assert frame["row"].to_list() == list(range(8))
    assert frame["time"].null_count() == 8


@pytest.mark.parametrize("main", ["kitchen", "food"])
def test_one_key_decides_the_direction(raw: Path, tmp_path: Path, main: str) -> None:
    prepared = prepare(made(main), {"name": "toy"}, raw, tmp_path / main)
    assert prepared.main == main
    assert set(prepared.domains) == {"kitchen", "food"}
    row = prepared.user_ids.index("train-1")
    bought = prepared.sequences("food")
    ids = bought.items[bought.offsets[row] : bought.offsets[row + 1]]
    assert [bought.item_ids[item - 2] for item in ids] == ["0", "3"]


def test_titles_are_taken_where_they_are(raw: Path, tmp_path: Path) -> None:
    assert made().events(raw).item_text.is_empty()
    text = 'item\tdomain\tasin\ttitle\n0\tfood\tB0\tA "fine" tea\n5\tkitchen\tB5\tPan\n'
    (raw / "items.tsv.gz").write_bytes(gzip.compress(text.encode()))
    assert made().events(raw).item_text.rows() == [("0", 'A "fine" tea'), ("5", "Pan")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\t0\n2 5\n", r"line 2: 1 field\(s\)"),
        ("1\t0\n2\t5,x\n", "line 2: item is 'x', not a whole number"),
        ("1\t0\n2\t5,,1\n", "line 2: item is '', not a whole number"),
        ("1\t0\n2\t5,9\n", "line 2: item 9 belongs to no domain"),
        ("1\t0\n2\t-1\n", "line 2: item -1 belongs to no domain"),
        ("1\t0\n1\t5\n", "line 1: the number 1 is given to two users"),
        ("", "is empty|has no rows"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(raw: Path, text: str, message: str) -> None:
    (raw / "train.txt").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        made().events(raw)
    assert caught.value.hint


def test_a_missing_or_half_file_and_a_main_domain_of_no_event_are_errors(raw: Path) -> None:
    with pytest.raises(ConfigError, match="main is 'toys'"):
        made("toys")
    with pytest.raises(DataError, match="no event is of the domain 'toys'") as caught:
        TwoDomains(name="toy", files=["train"], bounds=BOUNDS | {"toys": 12}, main="toys").events(raw)
    assert "kitchen" in caught.value.hint
    packed = (raw / "test.txt.gz").read_bytes()
    (raw / "test.txt.gz").write_bytes(packed[:-9])
    with pytest.raises(DataError, match=r"cannot read .*test\.txt\.gz"):
        made().events(raw)
    (raw / "test.txt.gz").unlink()
    with pytest.raises(DataError, match=r"there is no file .*test\.txt"):
        made().events(raw)


def test_the_real_files_have_the_counted_numbers() -> None:
    folder = shared("amazon-food-kitchen-large")
    found = build(compose("preprocess", ["dataset=amazon-food-kitchen-large"])["dataset"]).events(folder)
    frame = found.frame.collect()
    file = pl.col("user").str.extract("^(.*)-")
    counts = frame.group_by(file, "domain").agg(pl.len(), users=pl.col("user").n_unique())
    assert sorted(counts.rows()) == [
        ("test", "food", 6447, 937), ("test", "kitchen", 9279, 937),
        ("train_A", "food", 37281, 5472), ("train_B", "kitchen", 265817, 38191),
        ("train_overlap", "food", 45849, 7501), ("train_overlap", "kitchen", 53321, 7501),
        ("valid", "food", 8739, 960), ("valid", "kitchen", 9394, 960),
    ]  # fmt: skip
    assert frame["domain"][0] == "kitchen"
    assert len(found.item_text) == 36_298

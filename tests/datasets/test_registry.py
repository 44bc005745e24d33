"""The data sets that userrep knows: each can be had, or says how, and is read from files as they are published."""

import gzip
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from shared_files import shared

from userrep.build import build
from userrep.config import compose
from userrep.datasets.dataset import Dataset
from userrep.datasets.sources import ByHand, Fetched
from userrep.groups import choices
from userrep.stages import download, preprocess
from userrep.stages.request import Request

NAMES = choices("dataset")
FREE = {"synthetic", "table"}  # nothing to download


def node(name: str, *overrides: str) -> dict[str, Any]:
    return dict(compose("download", [f"dataset={name}", *overrides])["dataset"])


def get(name: str, data_dir: Path, *paths: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Download a data set from files at hand."""
    extra = {"from_file": list(paths), "accept_licence": True}
    return download.run(Request((f"dataset={name}", *overrides), data_dir=data_dir, extra=extra))


@pytest.mark.parametrize("name", NAMES)
def test_every_data_set_says_where_it_is_from_what_may_be_done_with_it_and_how_to_get_it(name: str) -> None:
    dataset: Dataset = build(node(name), at="dataset")
    assert dataset.title
    assert dataset.licence
    assert dataset.name == name
    if name in FREE:
        assert not dataset.sources
        return
    last = dataset.sources[-1]
    assert isinstance(last, ByHand)
    assert any(step.startswith("userrep download ") and "--from-file" in step for step in last.steps)
    assert any(source.members for source in dataset.sources)
    assert all(source.published or not source.size for source in dataset.sources)
    for source in dataset.sources:
        assert isinstance(source, Fetched) <= bool(source.members)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FREE])
def test_the_tasks_of_a_data_set_are_there_and_its_own_labels_come_first(name: str) -> None:
    found = node(name)
    assert found["tasks"]
    assert set(found["tasks"]) <= set(choices("task"))


@pytest.mark.parametrize(("name", "version"), [("ml-20m", "ml-20m"), ("ml-25m", "ml-25m")])
def test_the_large_movielens_are_read_with_titles(tmp_path: Path, name: str, version: str) -> None:
    archive = tmp_path / f"{version}.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(f"{version}/ratings.csv", "userId,movieId,rating,timestamp\n1,2,3.5,1147880044\n1,7,4.0,9\n")
        packed.writestr(f"{version}/movies.csv", 'movieId,title,genres\n2,"Jumanji, again (1995)",Comedy\n7,X,Y\n')
    get(name, tmp_path / "data", archive)
    found = build(node(name)).events(tmp_path / "data" / "raw" / name)
    ids = pl.col("user", "item").cast(pl.String)
    assert found.frame.collect().select(ids, "time", "rating").rows() == [
        ("1", "2", 1147880044, 3.5), ("1", "7", 9, 4.0),
    ]  # fmt: skip
    assert dict(found.item_text.rows())["2"] == "Jumanji, again (1995)"


@pytest.mark.parametrize(
    ("name", "file", "text"),
    [
        ("amazon-2023", "Video_Games.csv.gz", "user_id,parent_asin,rating,timestamp\nu,B1,5.0,1400000000123\n"),
        ("amazon-2023-books", "Books.csv.gz", "user_id,parent_asin,rating,timestamp\nu,B1,5.0,1400000000123\n"),
        ("amazon-2018", "Grocery_and_Gourmet_Food.csv", "B1,u,5.0,1400000000\n"),
        ("amazon-2014", "ratings_Home_and_Kitchen.csv", "u,B1,5.0,1400000000\n"),
        ("amazon-2014-cds-and-vinyl", "ratings_CDs_and_Vinyl.csv", "u,B1,5.0,1400000000\n"),
    ],
)
def test_a_category_of_amazon_is_one_file_of_its_year(tmp_path: Path, name: str, file: str, text: str) -> None:
    path = tmp_path / file
    path.write_bytes(gzip.compress(text.encode()) if file.endswith(".gz") else text.encode())
    answer = get(name, tmp_path / "data", path)
    assert set(answer["files"]) == {file}
    made = preprocess.run(Request((f"dataset={name}",), data_dir=tmp_path / "data"))
    assert (made["users"], made["events"]) == (1, 1)
    frame = build(node(name)).events(tmp_path / "data" / "raw" / name).frame.collect()
    assert frame.select("user", "item", "time", "rating").row(0) == ("u", "B1", 1400000000, 5.0)


def test_another_category_is_another_address_and_file(tmp_path: Path) -> None:
    found = build(node("amazon-2023", "dataset.category=Magazine_Subscriptions", "dataset.core=5core"))
    assert found.sources[0].url.endswith("/5core/rating_only/Magazine_Subscriptions.csv.gz")
    assert not found.sources[0].published
    assert build(node("amazon-2023-books")).sources[0].md5 == "9d5d693dae385efa9053961675e1f14a"


def test_any_folder_of_atomic_files_is_read_under_a_name_of_its_own(tmp_path: Path) -> None:
    place = tmp_path / "x"
    place.mkdir()
    (place / "x.inter").write_text("user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\ta\t3\t9\n")
    overrides = ("dataset.name=x",)
    assert get("atomic", tmp_path / "data", place, overrides=overrides)["path"].endswith("raw/x")
    made = preprocess.run(Request(("dataset=atomic", *overrides), data_dir=tmp_path / "data"))
    assert (made["dataset"], made["events"]) == ("x", 1)


def test_files_of_no_known_names_are_taken_and_then_have_to_be_named(tmp_path: Path) -> None:
    archive = tmp_path / "coldrec1.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("Data/source.csv", "1,2,3\n")
        packed.writestr("Data/target.csv", "1,2,3,,7\n")
        packed.writestr("Data/readme.txt", "hello")
    assert set(get("coldrec1", tmp_path / "data", archive)["files"]) == {"source.csv", "target.csv"}
    named = ("dataset.pretrain=source.csv", "dataset.ranking={target: target.csv}")
    made = preprocess.run(Request(("dataset=coldrec1", *named), data_dir=tmp_path / "data"))
    assert (made["users"], made["events"]) == (2, 7)


def test_a_checksum_that_nobody_published_is_recorded_and_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ratings_Home_and_Kitchen.csv"
    path.write_text("u,B1,5.0,14\n")
    get("amazon-2014", tmp_path / "data", path)
    assert "no checksum is published; recorded: sha256 " in capsys.readouterr().out
    path.write_text("u,B2,5.0,14\n")
    get("amazon-2014", tmp_path / "data", path)
    assert "not the archive of the first time" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["amazon-food-kitchen", "amazon-food-kitchen-large"])
def test_the_folders_beside_the_project_are_taken_as_they_are(tmp_path: Path, name: str) -> None:
    answer = get(name, tmp_path, shared(name))
    assert {"README.md", "num.txt.gz"}.isdisjoint(answer["files"])
    assert download.run(Request((f"dataset={name}",), data_dir=tmp_path))["files"] == answer["files"]


def test_what_needs_no_download_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, told in (("synthetic", "its events are generated"), ("table", "dataset.path=FILE")):
        assert download.run(Request((f"dataset={name}",), data_dir=tmp_path))["files"] == {}
        assert told in capsys.readouterr().out

"""MovieLens: one content hash whatever the source, and the facts that are known of the real sets."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import films
import pytest
from shared_files import real_raw

from userrep.build import build
from userrep.config import compose
from userrep.datasets.movielens import MovieLens
from userrep.errors import DataError
from userrep.sequences.card import make_card
from userrep.sequences.prepare import prepare
from userrep.sequences.store import Prepared


def made(name: str, raw: Path, folder: Path, **changes: Any) -> Prepared:
    node = compose("preprocess", [f"dataset={name}"])["dataset"] | changes
    return prepare(build(node), node, raw, folder)


@pytest.mark.parametrize(
    ("name", "official", "atomic"),
    [
        ("ml-100k", films.official_100k, films.atomic_100k),
        ("ml-1m", films.official_1m, films.atomic_1m),
    ],
)
def test_official_and_atomic_files_give_one_content_hash(
    tmp_path: Path, name: str, official: Callable[[Path], Path], atomic: Callable[[Path], Path]
) -> None:
    one = made(name, official(tmp_path / "official"), tmp_path / "one")
    other = made(name, atomic(tmp_path / "atomic"), tmp_path / "other")
    assert one.hash == other.hash
    assert one.user_ids == ["1", "2", "10"]
    assert 'Say "Cheese", or: Not (1999)' in one.sequences().item_ids
    assert "Misérables, Les (1995)" in one.sequences().item_ids
    assert sorted(one.sequences().texts) == sorted(one.sequences().item_ids)


def test_two_numbers_of_one_title_are_one_film_met_once(tmp_path: Path) -> None:
    prepared = made("ml-100k", films.official_100k(tmp_path / "raw"), tmp_path / "out")
    assert prepared.meta["duplicates"] == 1
    assert prepared.meta["domains"][0]["events"] == len(films.RATINGS) - 1


def test_ages_are_binned_as_in_ml_1m(tmp_path: Path) -> None:
    prepared = made("ml-100k", films.official_100k(tmp_path / "raw"), tmp_path / "out")
    ages = [prepared.classes("age")[code] for code in prepared.labels("age")]
    assert ages == ["1", "18", "50"]  # of 7, 24 and 55 years
    assert prepared.classes("occupation") == ["none", "other", "writer"]


def test_classes_that_are_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    prepared = made("ml-1m", films.official_1m(tmp_path / "raw"), tmp_path / "out")
    assert prepared.classes("occupation") == ["0", "3", "10"]


def test_an_unknown_age_is_a_missing_label(tmp_path: Path) -> None:
    raw = films.atomic_100k(tmp_path / "raw")
    path = raw / "toy.user"
    path.write_text(path.read_text().replace("\t24\t", "\t\t"), newline="")
    films.record(raw, "atomic")
    prepared = made("ml-100k", raw, tmp_path / "out")
    assert prepared.labels("age").tolist() == [0, -1, 1]


def damage(raw: Path, name: str, before: bytes, after: bytes) -> Path:
    path = raw / name
    assert before in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(before, after, 1))
    return films.record(raw, "official")


@pytest.mark.parametrize(
    ("name", "before", "after", "message"),
    [
        ("ratings.dat", b"2::3::4::", b"2::3::4:", "ratings.dat, line 2: 3 field"),
        ("ratings.dat", b"::880000003", b"::soon", "ratings.dat, line 1: time is 'soon'"),
        ("ratings.dat", b"10::6::3::", b"10::8::3::", "ratings.dat, line 6: film '8' is not in movies.dat"),
        ("movies.dat", b"2::Say", b"1::Say", "movies.dat, line 2: film 1 is listed twice"),
        ("users.dat", b"::48067", b"", "users.dat, line 1: 4 field"),
        ("users.dat", b"2::M::18::", b"2::M::old::", "age is 'old', not a whole number"),
        ("users.dat", b"2::M", b"1::M", "lists user '1' twice"),
        ("ratings.dat", b"2::1::5", b"\xff::1::5", "cannot read"),
    ],
)
def test_damaged_files_are_refused_with_file_and_line(
    tmp_path: Path, name: str, before: bytes, after: bytes, message: str
) -> None:
    raw = damage(films.official_1m(tmp_path / "raw"), name, before, after)
    with pytest.raises(DataError, match=message) as caught:
        made("ml-1m", raw, tmp_path / "out")
    assert caught.value.hint
    assert not (tmp_path / "out").exists()


def test_nothing_downloaded_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no raw files") as caught:
        made("ml-1m", tmp_path / "ml-1m", tmp_path / "out")
    assert caught.value.hint.startswith("userrep download ml-1m")


def test_a_file_that_changed_since_its_download_is_refused(tmp_path: Path) -> None:
    raw = films.official_1m(tmp_path / "raw")
    with open(raw / "ratings.dat", "a") as file:
        file.write("1::2::3::4\n")
    with pytest.raises(DataError, match="removed or changed"):
        MovieLens(name="ml-1m").events(raw)


@pytest.mark.real_data
def test_ml_1m_is_what_is_known_of_it_and_prepares_in_seconds(tmp_path: Path) -> None:
    raw = real_raw("ml-1m")
    begun = time.monotonic()
    card = make_card(made("ml-1m", raw, tmp_path / "out"))
    assert time.monotonic() - begun < 30  # about 2.5 s with two free cores
    (domain,) = card["domains"]
    assert (card["users"], domain["items"], domain["events"]) == (6040, 3706, 1_000_209)
    assert card["duplicates_merged"] == 0
    assert domain["lengths"]["min"] == 20
    assert domain["tied_neighbours"] == pytest.approx(529_046 / 994_169)
    assert domain["tied_test_targets"] == pytest.approx(0.42, abs=0.005)
    assert card["labels"]["gender"] == {"F": 1709, "M": 4331, "unknown": 0}
    assert card["labels"]["age"]["25"] == 2096
    assert max(card["labels"]["occupation"].values()) == card["labels"]["occupation"]["4"] == 759


@pytest.mark.real_data
def test_ml_100k_has_1664_titles_and_943_users(tmp_path: Path) -> None:
    card = make_card(made("ml-100k", real_raw("ml-100k"), tmp_path / "out"))
    (domain,) = card["domains"]
    assert (card["users"], domain["items"]) == (943, 1664)
    assert domain["events"] + card["duplicates_merged"] == 100_000
    assert len(card["labels"]["occupation"]) == 21 + 1


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "prefix", "big"), [("ml-100k", "100k_", False), ("ml-1m", "1m_", True)])
def test_an_official_copy_of_the_real_files_gives_the_same_hash(
    tmp_path: Path, name: str, prefix: str, big: bool
) -> None:
    raw = real_raw(name)
    if not list(raw.glob("*.inter")):
        pytest.skip(f"{raw} holds the official files: there is nothing to copy them from")
    copy = films.official_copy(raw, tmp_path / "copy", prefix, big=big)
    assert made(name, copy, tmp_path / "one").hash == made(name, raw, tmp_path / "other").hash

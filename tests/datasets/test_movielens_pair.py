"""MovieLens 1M to 100K: what the reader divides is what a plain loop divides, and it is prepared and asked for."""

import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import films
import numpy as np
import pytest
from shared_files import real_raw

from userrep.build import build
from userrep.cli import main
from userrep.config import compose
from userrep.errors import ConfigError, DataError
from userrep.sequences.card import make_card
from userrep.sequences.prepare import prepare
from userrep.sequences.protocol import Protocol, seen_users
from userrep.sequences.store import Prepared, prepared_path
from userrep.stages import download
from userrep.stages.request import Request

OLD_FILMS = {
    "1": "Toy Story (1995)", "2": "Misérables, Les (1995)", "3": "Heat (1995)", "4": "Alien (1979)",
    "5": "Alien (1979)", "9": "Never Rated (2000)",
}  # fmt: skip
NEW_FILMS = {
    "1": "Toy Story (1995)", "2": "Alien (1979)", "3": "Chasing Amy (1997)", "4": "Chasing Amy (1997)",
    "5": "Misérables, Les (1995)", "6": "Kolya (1996)", "7": "Never Rated (2000)", "8": "Heat (1995)",
}  # fmt: skip
OLD = [  # user, film, stars, time
    ("2", "1", "5", "970000003"), ("2", "4", "4", "970000001"), ("2", "5", "3", "970000009"),
    ("1", "3", "1", "970000002"), ("1", "2", "2", "970000002"), ("1", "1", "3", "970000000"),
]  # fmt: skip
NEW = [
    ("2", "1", "4", "880000005"), ("2", "3", "4", "880000001"), ("2", "2", "3", "880000001"),
    ("2", "5", "2", "880000003"), ("2", "4", "5", "880000009"), ("2", "6", "1", "880000004"),
    ("2", "7", "1", "880000003"), ("1", "7", "5", "880000000"), ("1", "8", "3", "880000001"),
    ("1", "1", "3", "880000001"), ("3", "6", "2", "880000007"),
]  # fmt: skip
OLD_USERS = [("1", "F", "1", "10", "48067"), ("2", "M", "18", "0", "92683-1892")]
NEW_USERS = [("1", "7", "F", "other", "92683"), ("2", "24", "M", "writer", "E2A4H"), ("3", "55", "M", "none", "00501")]


def official(folder: Path) -> Path:
    films.lines(folder / "ratings.dat", "::", OLD)
    films.lines(folder / "users.dat", "::", OLD_USERS)
    films.lines(folder / "movies.dat", "::", [(*film, "Drama") for film in OLD_FILMS.items()], "latin-1")
    films.lines(folder / "u.data", "\t", NEW)
    films.lines(folder / "u.user", "|", NEW_USERS)
    films.lines(folder / "u.item", "|", [(*film, "", "", "", *"0" * 19) for film in NEW_FILMS.items()], "latin-1")
    return films.record(folder, "official")


def atomic(folder: Path) -> Path:
    old = [(user, age, gender, *rest) for user, gender, age, *rest in OLD_USERS]
    releases = (("ml-1m", "1m_", OLD, old, OLD_FILMS), ("ml-100k", "100k_", NEW, NEW_USERS, NEW_FILMS))
    for name, prefix, ratings, users, titles in releases:
        events = [(prefix + user, titles[film], stars, time) for user, film, stars, time in ratings]
        header = ("user_id:token", "item_id:token", "rating:float", "timestamp:float")
        films.lines(folder / f"{name}.inter", "\t", [header, *events], end="\r\n")
        header = ("user_id:token", "age:token", "gender:token", "occupation:token", "zip_code:token")
        films.lines(folder / f"{name}.user", "\t", [header, *((prefix + row[0], *row[1:]) for row in users)])
        films.lines(folder / f"{name}.item", "\t", [("item_id:token",), *((title,) for title in titles.values())])
    return films.record(folder, "atomic")


def node(**changes: Any) -> dict[str, Any]:
    return dict(compose("preprocess", ["dataset=ml-1m-to-100k"])["dataset"]) | changes


def made(raw: Path, folder: Path, **changes: Any) -> Prepared:
    return prepare(build(node(**changes)), node(**changes), raw, folder)


def histories(data: Prepared, domain: str) -> dict[str, list[tuple[str, int, float]]]:
    """List title, time and stars of each user's events, of those who have some."""
    found = data.sequences(domain)
    assert found.times is not None
    assert found.ratings is not None
    events = [
        (found.item_ids[item - 2], int(time), float(stars))
        for item, time, stars in zip(found.items, found.times, found.ratings, strict=True)
    ]
    ends = zip(data.user_ids, found.offsets, found.offsets[1:], strict=False)
    return {user: events[begin:end] for user, begin, end in ends if end > begin}


def by_hand(share: float, merge: bool) -> tuple[dict[str, dict[str, list[Any]]], int, int]:
    """Divide with a plain loop: {domain: {user: events}}, how many are dropped, how many cuts part one second."""
    wanted: dict[str, dict[str, list[Any]]] = {"ml-1m": {}, "ml-100k": {}}
    known, dropped, parted = {OLD_FILMS[film] for _, film, _, _ in OLD}, 0, 0
    for rows, titles, prefix in ((OLD, OLD_FILMS, ""), (NEW, NEW_FILMS, "ml-100k-")):
        for user in sorted({row[0] for row in rows}):
            events: list[Any] = []
            for _, film, stars, time in sorted((row for row in rows if row[0] == user), key=lambda row: int(row[3])):
                if not merge or titles[film] not in [event[0] for event in events]:
                    events.append((titles[film], int(time), float(stars)))
            cut = int(len(events) * share) if prefix else len(events)
            past = [event for event in events[:cut] if event[0] in known]
            dropped += cut - len(past)
            parted += 0 < cut < len(events) and events[cut - 1][1] == events[cut][1]
            for domain, part in (("ml-1m", past), ("ml-100k", events[cut:])):
                wanted[domain] |= {prefix + user: part} if part else {}
    return wanted, dropped, parted


@pytest.mark.parametrize("share", [0.2, 0.5, 0.75])
@pytest.mark.parametrize("repeats", ["merge", "keep"])
@pytest.mark.parametrize("files", [official, atomic])
def test_users_are_divided_as_by_a_plain_loop(tmp_path: Path, files: Any, repeats: str, share: float) -> None:
    raw = files(tmp_path / "raw")
    data = made(raw, tmp_path / "out", repeats=repeats, history_share=share)
    wanted, dropped, parted = by_hand(share, repeats == "merge")
    assert data.domains == ["ml-1m", "ml-100k"]
    assert {domain: histories(data, domain) for domain in data.domains} == wanted
    shared, lost, cuts = make_card(data)["notes"][:3]
    assert shared == "4 of the 7 titles of ml-100k are in ml-1m"
    assert lost.startswith(f"{dropped} of the ")
    assert cuts.startswith(f"{parted} of the 3 cuts ")


def test_a_second_meeting_beyond_the_cut_is_merged_into_the_first(tmp_path: Path) -> None:
    frame = build(node()).events(official(tmp_path / "raw")).frame.collect()
    amy = frame.filter(item="Chasing Amy (1997)")
    assert amy.is_empty()  # ml-1m lacks it: both meetings go
    assert made(tmp_path / "raw", tmp_path / "out").meta["duplicates"] == 1  # Alien, of user 2 of ml-1m
    late = made(tmp_path / "raw", tmp_path / "late", history_share=0.1)
    assert late.meta["duplicates"] == 2
    assert Counter(title for title, _, _ in histories(late, "ml-100k")["ml-100k-2"])["Chasing Amy (1997)"] == 1


def test_the_layouts_give_one_content_hash_and_users_never_meet(tmp_path: Path) -> None:
    one, other = made(official(tmp_path / "a"), tmp_path / "one"), made(atomic(tmp_path / "b"), tmp_path / "other")
    assert one.hash == other.hash
    assert one.user_ids == ["1", "2", "ml-100k-1", "ml-100k-2", "ml-100k-3"]
    assert [one.classes("gender")[code] if code >= 0 else "" for code in one.labels("gender")] == ["", "", *"FMM"]
    assert "Misérables, Les (1995)" in one.sequences("ml-1m").item_ids


def test_the_base_learns_from_the_source_and_first_targets_are_asked_for(tmp_path: Path) -> None:
    data = made(official(tmp_path / "raw"), tmp_path / "out")
    composed = compose("baseline", ["dataset=ml-1m-to-100k", "task=cold_first", "baseline=popularity"])
    task = build(composed["task"])
    protocol = Protocol(source="ml-1m", pretrain_users="source_only")
    assert [data.user_ids[row] for row in np.flatnonzero(seen_users(data, protocol))] == ["1", "2"]
    cases, _ = task.collect(data, protocol)
    past, ahead = data.sequences("ml-1m"), data.sequences("ml-100k")
    asked = {
        data.user_ids[row]: (
            [past.item_ids[item - 2] for item in past.items[past.offsets[row] : end]],
            ahead.item_ids[target - 2],
        )
        for row, end, target in zip(cases.rows, cases.ends, cases.targets, strict=True)
    }
    assert asked == {
        "ml-100k-2": (["Alien (1979)", "Misérables, Les (1995)"], "Never Rated (2000)"),
    }  # user 1 has but a film in his history that ml-1m's users never rated, user 3 has none


def test_both_archives_given_by_hand_make_the_raw_files(tmp_path: Path) -> None:
    raw = official(tmp_path / "raw")
    inside = {"ml-1m": ("ratings.dat", "users.dat", "movies.dat"), "ml-100k": ("u.data", "u.user", "u.item")}
    for name, files in inside.items():
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as packed:
            for file in files:
                packed.write(raw / file, f"{name}/{file}")
    given = [tmp_path / "ml-1m.zip", tmp_path / "ml-100k.zip"]
    request = Request(("dataset=ml-1m-to-100k",), data_dir=tmp_path / "data", extra={"from_file": given})
    answer = download.run(request)
    assert (answer["layout"], len(answer["files"])) == ("official", 6)
    assert made(Path(answer["path"]), tmp_path / "one").hash == made(raw, tmp_path / "other").hash


def test_the_sources_are_those_of_the_two_releases() -> None:
    dataset = build(node())
    both = [build(compose("download", [f"dataset={name}"])["dataset"]) for name in ("ml-1m", "ml-100k")]
    for source, *parts in zip(dataset.sources, both[0].sources, both[1].sources, strict=True):
        assert source.members == [member for part in parts for member in part.members]
        assert source.published == all(part.published for part in parts)
    assert dataset.sources[1].label == both[0].sources[1].label  # one wheel has both


def test_what_describes_a_release_does_not_move_the_prepared_folder(tmp_path: Path) -> None:
    plain, told = node(), node(notes=[])
    told["source"] = told["source"] | {"licence": "other", "sources": []}
    assert prepared_path(tmp_path, plain) == prepared_path(tmp_path, told)
    assert prepared_path(tmp_path, plain) != prepared_path(tmp_path, node(history_share=0.4))


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, float("nan")])
def test_a_share_that_leaves_no_history_or_no_target_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="history_share is") as caught:
        build(node(history_share=share))
    assert "0.5" in caught.value.hint


def test_random_ties_are_refused() -> None:
    with pytest.raises(ConfigError, match="follows the order of the file"):
        build(node(ties="random"))


@pytest.mark.parametrize(
    ("name", "before", "after", "message"),
    [
        ("u.data", b"2\t1\t4\t", b"2\t1\t4", "u.data, line 1: 3 field"),
        ("u.data", b"3\t6\t", b"3\t60\t", "u.data, line 11: film '60' is not in u.item"),
        ("ratings.dat", b"::970000003", b"::soon", "ratings.dat, line 1: time is 'soon'"),
        ("u.user", b"3|55", b"1|55", "lists user 'ml-100k-1' twice"),
    ],
)
def test_damaged_files_are_refused_with_file_and_line(
    tmp_path: Path, name: str, before: bytes, after: bytes, message: str
) -> None:
    raw = official(tmp_path / "raw")
    content = (raw / name).read_bytes()
    assert before in content
    (raw / name).write_bytes(content.replace(before, after, 1))
    films.record(raw, "official")
    with pytest.raises(DataError, match=message) as caught:
        made(raw, tmp_path / "out")
    assert caught.value.hint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("files", [official, atomic])
def test_a_release_that_is_missing_is_named_with_what_to_type(tmp_path: Path, files: Any) -> None:
    raw = files(tmp_path / "data" / "raw" / "ml-1m-to-100k")
    for path in [*raw.glob("u.*"), *raw.glob("ml-100k.*")]:
        path.unlink()
    with pytest.raises(DataError, match="removed or changed") as caught:
        made(raw, tmp_path / "out")
    assert caught.value.hint.startswith("userrep download ml-1m-to-100k")
    films.record(raw, "official" if files is official else "atomic")
    with pytest.raises(DataError, match=r"has no u\.data|has 0 files \*ml-100k\.inter") as caught:
        made(raw, tmp_path / "out")
    assert caught.value.hint.startswith("userrep download ml-1m-to-100k --fresh")


def test_releases_without_a_common_title_are_refused(tmp_path: Path) -> None:
    raw = official(tmp_path / "raw")
    films.lines(raw / "u.item", "|", [(number, f"Film {number}", "") for number in NEW_FILMS], "latin-1")
    with pytest.raises(DataError, match="share no title"):
        made(films.record(raw, "official"), tmp_path / "out")


def test_nothing_downloaded_ends_the_command_with_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["preprocess", "dataset=ml-1m-to-100k", "--data-dir", str(tmp_path)])
    assert ended.value.code == 3
    assert "userrep download ml-1m-to-100k" in capsys.readouterr().err


@pytest.mark.real_data
def test_the_real_releases_share_1539_titles(tmp_path: Path) -> None:
    card = make_card(made(real_raw("ml-1m-to-100k"), tmp_path / "out"))
    source, target = card["domains"]
    assert (card["users"], source["items"], target["items"]) == (6040 + 943, 3706, 1601)
    assert (source["events"] - 1_000_209, target["events"]) == (47_531, 50_083)
    assert card["duplicates_merged"] == 307
    assert card["notes"][0] == "1,539 of the 1,664 titles of ml-100k are in ml-1m"
    assert card["notes"][1].startswith("2,079 of the 49,610 events ")
    assert card["notes"][2].startswith("470 of the 943 cuts ")
    assert source["events"] - 1_000_209 + target["events"] + 307 + 2_079 == 100_000
    assert card["labels"]["gender"] == {"F": 273, "M": 670, "unknown": 6040}
    forward = next(pair for pair in card["overlaps"] if pair["source"] == "ml-1m")
    assert (forward["users"], forward["source_only"], forward["first_after_three"]) == (943, 6040, 943)

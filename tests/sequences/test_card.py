"""The data card says what a plain count says."""

from pathlib import Path

import pytest
from listed import prepared_from, user_of

from userrep.files import read_json
from userrep.sequences.card import make_card, rows_of, tied_shares


def test_the_card_counts_what_there_is(tmp_path: Path) -> None:
    events = user_of("u", "abcd", [1, 1, 2, 2]) + user_of("v", "abcde", [1, 2, 2, 3, 4]) + user_of("w", "z")
    events.append(("u", "a", 1))
    known = {"user": ["u", "v"], "gender": ["F", None]}
    card = make_card(prepared_from(tmp_path, events, labels=["gender"], known=known))
    (domain,) = card["domains"]
    assert (card["users"], domain["events"], domain["items"]) == (3, 10, 6)
    assert domain["lengths"] == {"min": 1, "median": 4.0, "mean": pytest.approx(10 / 3), "max": 5}
    assert card["duplicates_merged"] == 1
    assert domain["users_under_3_events"] == 1
    assert domain["items_unseen_in_training"] == 2  # d and e
    assert domain["tied_neighbours"] == pytest.approx(3 / 7)
    assert domain["tied_test_targets"] == pytest.approx(1 / 2)
    assert card["labels"] == {"gender": {"F": 1, "unknown": 2}}


def test_shares_of_ties_equal_a_plain_loop(tmp_path: Path) -> None:
    times = {"u": [0, 0, 0], "v": [5], "w": [1, 2, 3, 3], "x": [1, 1]}
    prepared = prepared_from(tmp_path, [e for user, at in times.items() for e in user_of(user, "abcd"[: len(at)], at)])
    pairs = [(at[place - 1], at[place]) for at in times.values() for place in range(1, len(at))]
    lasts = [at[-1] == at[-2] for at in times.values() if len(at) >= 3]
    expected = (sum(a == b for a, b in pairs) / len(pairs), sum(lasts) / len(lasts))
    assert tied_shares(prepared.sequences()) == pytest.approx(expected)


def test_without_times_there_are_no_ties(tmp_path: Path) -> None:
    prepared = prepared_from(tmp_path, user_of("u", "abc", [None] * 3))
    assert tied_shares(prepared.sequences()) == (None, None)
    assert ("times", "none: order of the file") in rows_of(make_card(prepared))


def test_the_card_is_saved_for_people_and_for_programs(tmp_path: Path) -> None:
    prepared = prepared_from(tmp_path, user_of("u", "abc"), title="A | toy")
    assert read_json(prepared.path / "card.json") == make_card(prepared)
    text = (prepared.path / "card.md").read_text()
    assert text.startswith("# A | toy\n")
    assert prepared.hash in text

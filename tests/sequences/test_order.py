"""The order of events across domains: kept, audited, merged into one history, and counted against a plain loop."""

import json
from pathlib import Path

import numpy as np
import pytest
from listed import Event, items_of, prepared_from, user_of

from userrep.errors import ConfigError, DataError
from userrep.sequences.audit import audit
from userrep.sequences.card import make_card, rows_of
from userrep.sequences.overlap import count_earlier, only_in, overlaps
from userrep.sequences.protocol import Protocol, seen_users
from userrep.sequences.store import Prepared
from userrep.sequences.vocab import RESERVED

# A capital letter is an item of the domain `away`, a small one of `home`.
LIVES = {"u": "aAbBcA", "v": "Bab", "w": "abc", "x": "AB", "y": "aaA"}
TIMES = {"u": [0, 0, 1, 1, 2, 5], "v": [3, 3, 4], "w": [0, 1, 2], "x": [0, 1], "y": [0, 0, 0]}


def life(timed: bool = True) -> tuple[list[Event], list[str]]:
    """Return the events of all users and their domains."""
    times = {name: TIMES[name] if timed else [None] * len(items) for name, items in LIVES.items()}
    events = [event for name, items in LIVES.items() for event in user_of(name, items, times[name])]
    return events, ["away" if item.isupper() else "home" for _, item, _ in events]


@pytest.fixture(params=[True, False], ids=["times", "no-times"])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Prepared:
    events, domains = life(request.param)
    return prepared_from(tmp_path, events, domains=domains, repeats="keep")


def test_each_event_keeps_its_place_among_all_of_its_user(two: Prepared) -> None:
    for name, items in LIVES.items():
        if two.sequences().times is not None and name == "y":
            items = "aA"  # two events of one user, item and time are one
        row, found = two.user_ids.index(name), [""] * len(items)
        for domain in two.domains:
            sequences = two.sequences(domain)
            bounds = slice(sequences.offsets[row], sequences.offsets[row + 1])
            for place, item in zip(sequences.order[bounds], items_of(two, name, domain), strict=True):
                found[place] = item
        assert "".join(found) == items


def test_places_are_by_time_and_then_by_row(tmp_path: Path) -> None:
    events: list[Event] = [("u", "a", 9), ("u", "A", 5), ("u", "b", 5), ("u", "B", 1)]
    data = prepared_from(tmp_path, events, domains=["home", "away", "home", "away"])
    assert data.sequences("home").order.tolist() == [2, 3]
    assert data.sequences("away").order.tolist() == [0, 1]


def test_the_order_is_part_of_the_content_of_several_domains_and_of_no_single_one(tmp_path: Path) -> None:
    one = prepared_from(tmp_path / "one", [("u", "a", None), ("u", "A", None)], domains=["home", "away"])
    other = prepared_from(tmp_path / "other", [("u", "A", None), ("u", "a", None)], domains=["away", "home"])
    assert one.hash != other.hash
    single = prepared_from(tmp_path / "single", user_of("u", "abc"))
    assert single.sequences().order is None
    assert not (single.path / "domains" / "main" / "order.npy").exists()


def test_filters_count_a_user_s_events_over_all_domains_and_an_item_s_in_its_own(tmp_path: Path) -> None:
    events = user_of("u", "aA") + user_of("v", "aA") + user_of("w", "a") + user_of("z", "b")
    domains = ["away" if item.isupper() else "home" for _, item, _ in events]
    data = prepared_from(tmp_path, events, domains=domains, min_user_events=2, min_item_events=2)
    assert data.user_ids == ["u", "v"]
    assert [len(data.sequences(name).items) for name in data.domains] == [2, 2]


def test_one_item_in_two_domains_is_two_items(tmp_path: Path) -> None:
    data = prepared_from(tmp_path, user_of("u", "aa", [1, 1]), domains=["home", "away"], repeats="merge")
    assert [len(data.sequences(name).items) for name in data.domains] == [1, 1]
    assert data.meta["duplicates"] == 0


def test_the_audit_finds_an_event_moved_to_another_place(two: Prepared) -> None:
    assert all(finding.ok for finding in audit(two))
    path = two.path / "domains" / "away" / "order.npy"
    np.save(path, np.load(path)[::-1].copy())
    broken = [finding for finding in audit(Prepared(two.path)) if not finding.ok]
    assert [finding.check for finding in broken] == ["no event of a domain is later than a target of another"]


def test_merged_histories_hold_both_domains_in_order_with_ids_apart(two: Prepared) -> None:
    merged, shift = two.merged("home", "away"), two.sequences("home").vocab_size - RESERVED
    assert merged.name == "home+away"
    assert merged.vocab_size == two.sequences("home").vocab_size + two.sequences("away").vocab_size - RESERVED
    assert "".join(items_of(two, "u")) == "abc"
    row = two.user_ids.index("u")
    ids = merged.items[merged.offsets[row] : merged.offsets[row + 1]]
    assert "".join(merged.item_ids[index - RESERVED] for index in ids) == LIVES["u"]
    assert [index >= shift + RESERVED for index in ids] == [item.isupper() for item in LIVES["u"]]
    assert two.merged("home", "away") is merged
    assert two.merged("away", "home").item_ids == two.sequences("away").item_ids + two.sequences("home").item_ids


@pytest.mark.parametrize("strictly", [False, True])
def test_earlier_events_are_counted_as_a_plain_loop_counts_them(tmp_path: Path, strictly: bool) -> None:
    rng = np.random.default_rng(3)
    events = [(f"u{rng.integers(30)}", "abcdefghABCDEF"[rng.integers(14)], int(rng.integers(12))) for _ in range(400)]
    domains = ["away" if item.isupper() else "home" for _, item, _ in events]
    data = prepared_from(tmp_path, events, domains=domains)
    before, wanted = data.ordered("home", "away")
    expected = []
    for row in range(data.num_users):
        places = before.times if strictly else before.order
        own = places[before.offsets[row] : before.offsets[row + 1]]
        asked = (wanted.times if strictly else wanted.order)[wanted.offsets[row] : wanted.offsets[row + 1]]
        expected += [sum(place < target for place in own) for target in asked]
    assert count_earlier(before, wanted, strictly).tolist() == expected
    assert 0 < np.count_nonzero(expected) < len(expected)


def test_earlier_events_are_counted_however_far_apart_times_are(tmp_path: Path) -> None:
    far = 10**17  # times the number of users, more than 64 bits hold
    events: list[Event] = []
    for user in range(200):
        events += [(f"u{user}", "a", 0), (f"u{user}", "A", far), (f"u{user}", "b", far + 1)]
    data = prepared_from(tmp_path, events, domains=["home", "away", "home"] * 200)
    assert count_earlier(*data.ordered("home", "away"), strictly=True).tolist() == [1] * 200


def test_the_card_tells_who_is_in_both_and_how_much_comes_before(tmp_path: Path) -> None:
    data = prepared_from(tmp_path, *life()[:1], domains=life()[1])
    there, back = overlaps(data)
    assert (there["source"], there["target"], there["users"], there["source_only"]) == ("home", "away", 3, 1)
    assert (there["targets"], there["after_one"], there["after_three"]) == (5, 4, 1)
    assert (there["first_after_one"], there["first_after_three"]) == (2, 0)
    assert (back["targets"], back["after_one"]) == (6, 4)
    shown = dict(rows_of(make_card(data)))
    assert shown["targets (home to away)"] == "5, of which 4 after 1 home event or more, 1 after 3 or more"
    assert only_in(data, "home").tolist() == [user == "w" for user in data.user_ids]


def test_a_card_of_one_domain_tells_of_no_overlap(tmp_path: Path) -> None:
    assert make_card(prepared_from(tmp_path, user_of("u", "abc")))["overlaps"] == []


def test_the_order_is_unknown_where_one_domain_has_times_and_one_has_none(tmp_path: Path) -> None:
    events: list[Event] = [("u", "a", 1), ("u", "A", None)]
    data = prepared_from(tmp_path, events, domains=["home", "away"])
    with pytest.raises(DataError, match="one has times and one has none"):
        data.merged("home", "away")
    assert make_card(data)["overlaps"] == []


def test_what_an_earlier_userrep_prepared_stays_readable_and_is_prepared_again_for_the_order(tmp_path: Path) -> None:
    events, domains = life()
    path = prepared_from(tmp_path, events, domains=domains).path
    meta = json.loads((path / "meta.json").read_text())
    for entry in meta["domains"]:
        del entry["order"]
        (path / "domains" / entry["name"] / "order.npy").unlink()
    (path / "meta.json").write_text(json.dumps(meta))
    data = Prepared(path)
    assert len(data.sequences("away").items) == 7
    assert all(finding.ok for finding in audit(data))
    with pytest.raises(DataError, match="does not hold the order") as caught:
        data.ordered("home", "away")
    assert "userrep preprocess dataset=listed" in caught.value.hint
    assert caught.value.hint.endswith("--fresh")


def test_a_split_is_read_from_disk_once(two: Prepared) -> None:
    assert two.split("folds", 1, "away") is two.split("folds", 1, "away")
    assert two.split("leave_one_out") is two.split("leave_one_out", domain="home")
    assert two.split("leave_one_out", domain="away") is not two.split("leave_one_out")


def test_source_only_users_are_those_that_no_task_knows(tmp_path: Path) -> None:
    events, domains = life()
    known = {"user": ["w", "v"], "age": [None, "1"]}
    data = prepared_from(tmp_path / "one", events, domains=domains, labels=["age"], known=known)
    protocol = Protocol(pretrain_users="source_only")
    assert [data.user_ids[row] for row in np.flatnonzero(seen_users(data, protocol))] == ["w"]
    backwards = Protocol(pretrain_users="source_only", source="away", fold=3)
    assert [data.user_ids[row] for row in np.flatnonzero(seen_users(data, backwards))] == ["x"]
    labelled = prepared_from(
        tmp_path / "two", events, domains=domains, labels=["age"], known={"user": ["w", "v"], "age": ["2", "1"]}
    )
    with pytest.raises(DataError, match="source_only leaves nobody"):
        seen_users(labelled, protocol)


def test_a_protocol_lists_whom_it_can_pretrain_on() -> None:
    with pytest.raises(ConfigError) as caught:
        Protocol(pretrain_users="source-only")
    assert "source_only" in caught.value.hint

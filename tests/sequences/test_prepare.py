"""Preparing: order, duplicates, filters, numbering, and folders that appear whole or not at all."""

import os
import resource
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from listed import Listed, items_of, prepared_from, user_of

from userrep.errors import DataError
from userrep.sequences.prepare import is_current, prepare
from userrep.sequences.vocab import RESERVED
from userrep.sequences.write import class_list


def test_events_are_ordered_by_time_and_then_as_in_the_file(tmp_path: Path) -> None:
    events = [("u", "c", 5), ("u", "b", 1), ("u", "a", 1), ("u", "d", 0)]
    assert items_of(prepared_from(tmp_path, events), "u") == ["d", "b", "a", "c"]


def test_events_without_times_stay_in_the_order_of_the_file(tmp_path: Path) -> None:
    prepared = prepared_from(tmp_path, user_of("u", "cabbage", [None] * 7))
    assert items_of(prepared, "u") == list("cabbage")
    assert prepared.sequences().times is None
    assert [entry["name"] for entry in prepared.meta["splits"]] == ["leave_one_out", "chain", "folds", "paper"]


def test_random_ties_move_events_of_one_time_only_and_repeat_with_their_seed(tmp_path: Path) -> None:
    events = user_of("u", "abcdefgh", [0, 1, 1, 1, 1, 1, 1, 2])
    orders = [
        "".join(items_of(prepared_from(tmp_path / str(place), events, ties="random", ties_seed=seed), "u"))
        for place, seed in enumerate((0, 0, 1, 2))
    ]
    assert orders[0] == orders[1]
    assert len(set(orders)) > 1
    assert all(order[0] == "a" and order[-1] == "h" and sorted(order) == list("abcdefgh") for order in orders)


def test_random_ties_do_not_depend_on_the_order_of_the_file(tmp_path: Path) -> None:
    events = user_of("u", "abcdefgh", [0, 1, 1, 1, 1, 1, 1, 2])
    one = prepared_from(tmp_path / "one", events, ties="random")
    other = prepared_from(tmp_path / "other", events[::-1], ties="random")
    assert one.hash == other.hash


def test_equal_events_are_merged_and_counted(tmp_path: Path) -> None:
    prepared = prepared_from(tmp_path, [("u", "a", 1), ("u", "b", 2), ("u", "a", 1), ("u", "a", 3)])
    assert items_of(prepared, "u") == ["a", "b", "a"]
    assert prepared.meta["duplicates"] == 1


def test_with_repeats_merged_only_the_first_meeting_is_kept(tmp_path: Path) -> None:
    prepared = prepared_from(tmp_path, [("u", "a", 9), ("u", "b", 2), ("u", "a", 1)], repeats="merge")
    assert items_of(prepared, "u") == ["a", "b"]
    assert prepared.sequences().times.tolist() == [1, 2]
    assert prepared.meta["duplicates"] == 1


def test_events_without_times_are_never_merged_where_repeats_are_meant(tmp_path: Path) -> None:
    assert items_of(prepared_from(tmp_path, user_of("u", "aaa", [None] * 3)), "u") == ["a", "a", "a"]


def test_filters_drop_until_nothing_is_left_to_drop(tmp_path: Path) -> None:
    events = user_of("u", "abc") + user_of("v", "abc") + user_of("w", "abd") + user_of("x", "d")
    prepared = prepared_from(tmp_path, events, min_user_events=3, min_item_events=2)
    assert prepared.user_ids == ["u", "v"]  # x is too short; then d is too rare; then w is too short
    assert prepared.meta["dropped"] == {"users": 2, "items": 1, "events": 4}


def test_filters_that_leave_nothing_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="leave no event"):
        prepared_from(tmp_path, user_of("u", "abc"), min_user_events=4)


def test_users_are_in_numeric_order_whatever_the_order_of_the_file(tmp_path: Path) -> None:
    events = user_of("10", "ab") + user_of("9", "ab") + user_of("2", "ab")
    assert prepared_from(tmp_path, events).user_ids == ["2", "9", "10"]


def test_ids_are_ordered_by_events_before_each_users_last_two(tmp_path: Path) -> None:
    events = user_of("u", "abzz") + user_of("v", "bazz") + user_of("w", "bzcz")
    sequences = prepared_from(tmp_path, events).sequences()
    assert sequences.item_ids == ["b", "a", "z", "c"]
    assert sequences.counts.tolist() == [3, 2, 1, 0]
    assert sequences.vocab_size == RESERVED + 4
    assert sequences.items.min() == RESERVED


def test_what_happens_in_the_last_two_events_moves_no_id(tmp_path: Path) -> None:
    start = user_of("u", "abcde") + user_of("v", "bbaac")
    one = prepared_from(tmp_path / "one", start).sequences().item_ids
    swapped = user_of("u", "abced") + user_of("v", "bbaca")
    assert prepared_from(tmp_path / "other", swapped).sequences().item_ids == one


def test_a_user_with_one_event_only_trains(tmp_path: Path) -> None:
    prepared = prepared_from(tmp_path, user_of("u", "abcd") + user_of("v", "a"))
    split = prepared.split("leave_one_out")
    assert (split.train_end.tolist(), split.valid_end.tolist()) == ([2, 1], [3, 1])


def test_labels_are_coded_by_sorted_classes_and_missing_ones_are_minus_one(tmp_path: Path) -> None:
    known = {"user": ["v", "u", "x"], "age": ["10", "9", "9"], "town": [None, "b", "a"]}
    events = user_of("u", "abc") + user_of("v", "abc") + user_of("w", "abc") + user_of("x", "abc")
    prepared = prepared_from(tmp_path, events, labels=["age", "town"], known=known)
    assert prepared.classes("age") == ["9", "10"]
    assert prepared.labels("age").tolist() == [0, 1, -1, 0]
    assert prepared.labels("town").tolist() == [1, -1, -1, 0]
    assert prepared.labels("age").dtype == np.int64


def test_a_label_that_no_user_has_is_an_error_that_lists_the_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no label 'sex'") as caught:
        prepared_from(tmp_path, user_of("u", "abc"), labels=["sex"], known={"user": ["u"], "gender": ["F"]})
    assert "gender" in caught.value.hint


def test_classes_that_look_like_numbers_and_are_none_are_texts() -> None:
    assert class_list(pl.Series(["10", "-9", "2", None])) == ["-9", "2", "10"]
    assert class_list(pl.Series(["10", "--5", "2"])) == ["--5", "10", "2"]


def test_labels_of_strangers_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of the 2 users in the file of users has an event") as caught:
        prepared_from(tmp_path, user_of("u1", "abc"), labels=["age"], known={"user": ["1", "2"], "age": ["9", "8"]})
    assert "ids" in caught.value.hint


def test_each_domain_has_its_own_vocabulary_over_the_same_users(tmp_path: Path) -> None:
    events = user_of("u", "abcd") + user_of("v", "xyx")
    prepared = prepared_from(tmp_path, events, domains=["home"] * 4 + ["away"] * 3)
    assert prepared.domains == ["home", "away"]
    assert prepared.main == "home"
    assert items_of(prepared, "u") == list("abcd")
    assert items_of(prepared, "v") == []
    assert items_of(prepared, "v", "away") == list("xyx")
    assert prepared.sequences("away").item_ids == ["x", "y"]
    assert prepared.split("leave_one_out", domain="away").train_end.tolist() == [0, 1]
    assert prepared.split("folds", 0, "away").train_end.tolist() == [0, 3]


def test_a_domain_that_the_filters_empty_is_still_there(tmp_path: Path) -> None:
    events = user_of("u", "aaaa") + user_of("u", "x", [9])
    prepared = prepared_from(tmp_path, events, domains=["home"] * 4 + ["away"], min_item_events=2)
    assert len(prepared.sequences("away").items) == 0
    assert prepared.sequences("away").vocab_size == RESERVED


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([], "no events"),
        ([("u", "", 1)], "event 1 has no item"),
        ([("u", "a", 1), ("", "a", 1)], "event 2 has no user"),
        ([("u", "a", 1), ("u", "b", None)], "event 2 has no time"),
    ],
)
def test_malformed_events_are_refused_and_nothing_is_written(
    tmp_path: Path, events: list[tuple[str, str, int | None]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        prepared_from(tmp_path, events)
    assert list(tmp_path.iterdir()) == []


def test_a_domain_cannot_leave_its_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no name of a domain"):
        prepared_from(tmp_path, user_of("u", "abc"), domains=["../away"] * 3)


def test_the_content_hash_sees_events_and_labels_but_neither_splits_nor_the_place(tmp_path: Path) -> None:
    events = user_of("u", "abcd") + user_of("v", "bcda")
    known = {"user": ["u", "v"], "age": ["1", "2"]}
    usual = {"labels": ["age"], "known": known}
    base = prepared_from(tmp_path / "base", events, **usual)
    assert prepared_from(tmp_path / "again", events, **usual).hash == base.hash
    reseeded = prepared_from(tmp_path / "reseeded", events, split_seed=1, **usual)
    assert reseeded.hash == base.hash
    changed = [
        prepared_from(tmp_path / "item", [*events[:-1], ("v", "b", 3)], **usual),
        prepared_from(tmp_path / "time", [*events[:-1], ("v", "a", 4)], **usual),
        prepared_from(
            tmp_path / "user", [(user.replace("u", "u1"), item, time) for user, item, time in events], **usual
        ),
        prepared_from(tmp_path / "label", events, labels=["age"], known=known | {"age": ["2", "2"]}),
    ]
    assert len({base.hash, *(one.hash for one in changed)}) == 5


def test_preparing_again_replaces_the_folder_whole(tmp_path: Path) -> None:
    prepared_from(tmp_path, user_of("u", "abcd"))
    leftover = tmp_path / "prepared" / "leftover"
    leftover.write_text("old")
    prepared = prepared_from(tmp_path, user_of("u", "abcdef"))
    assert len(prepared.sequences().items) == 6
    assert not leftover.exists()


def test_a_failed_preparation_leaves_the_old_folder_and_no_temporary_one(tmp_path: Path) -> None:
    old = prepared_from(tmp_path, user_of("u", "abcd"))
    bad = tmp_path / "bad.csv"
    bad.write_text("split,fold,user,position,role\nmine,0,u,1,train\n")
    with pytest.raises(DataError):
        prepared_from(tmp_path, user_of("u", "abcdef"), split_file=bad)
    assert prepared_from_disk(tmp_path) == old.hash
    assert {path.name for path in tmp_path.iterdir()} == {"bad.csv", "prepared", ".prepared.lock"}


def prepared_from_disk(folder: Path) -> str:
    from userrep.sequences.store import Prepared

    return Prepared(folder / "prepared").hash


def test_what_a_killed_preparation_left_is_swept_away(tmp_path: Path) -> None:
    dead = tmp_path / ".prepared.0123abcd.tmp"
    dead.mkdir()
    (dead / "items.npy").write_text("half")
    prepared_from(tmp_path, user_of("u", "abcd"))
    assert not dead.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_explained(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="Permission denied"):
        prepared_from(tmp_path, user_of("u", "abcd"))


@pytest.mark.parametrize("most", [100, 3000])  # in a table, in an array
def test_a_disk_that_takes_no_more_is_explained_and_nothing_is_left(tmp_path: Path, most: int) -> None:
    events = user_of("u", "abcdefghij" * 100)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, usual[1]))
        with pytest.raises(DataError, match="cannot write"):
            prepared_from(tmp_path, events)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert {path.name for path in tmp_path.iterdir()} == {".prepared.lock"}


def test_a_file_where_a_folder_should_be_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        prepared_from(tmp_path / "file", user_of("u", "abcd"))


def test_a_changed_raw_file_makes_a_preparation_stale(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "events").write_text("one")
    dataset = Listed(listed=user_of("u", "abcd"))
    prepare(dataset, {"name": "listed"}, raw, tmp_path / "prepared")
    assert is_current(tmp_path / "prepared", dataset, raw)
    (raw / "events").write_text("another")
    assert not is_current(tmp_path / "prepared", dataset, raw)

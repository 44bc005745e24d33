"""Tasks of a chain under one cut: which events train, validate and test, of whom, and what may be read."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from tests.sequences.listed import prepared_from, user_of
from userrep.baselines.bag import BagLR, SvdLR
from userrep.baselines.item_knn import ItemKNN
from userrep.baselines.popularity import Popularity
from userrep.baselines.random_encoder import RandomEncoder
from userrep.baselines.ridge import Ridge
from userrep.build import build
from userrep.errors import ConfigError
from userrep.objectives.classify import Classify
from userrep.objectives.cross_domain import CrossDomain
from userrep.objectives.next_item import NextItem
from userrep.objectives.objective import ROLES, Objective
from userrep.objectives.rated import Rated
from userrep.sequences.exposure import leaks
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared

PROTOCOL = Protocol(history=30, events="chain")
Told = tuple[str, int, int, int]  # user, place of the target, length of the history, target


def told(task: Rated, data: Prepared, role: str, protocol: Protocol = PROTOCOL) -> list[Told]:
    cases, offsets = task.cases(data, protocol, role), data.sequences().offsets
    begins = offsets[cases.rows]
    parts = (cases.rows, cases.met - begins, cases.ends - begins, cases.targets)
    return sorted((data.user_ids[row], *found) for row, *found in zip(*(part.tolist() for part in parts), strict=True))


def by_loop(data: Prepared, least: float, role: str, min_history: int = 1) -> list[Told]:
    """Find the targets of a role, one event after another."""
    events, split, found = data.sequences(), data.split("chain"), []
    for row, user in enumerate(data.user_ids):
        begin, count = events.offsets[row], events.offsets[row + 1] - events.offsets[row]
        bounds = (0, split.train_end[row], split.valid_end[row], count)
        for place in range(bounds[ROLES[role]], bounds[ROLES[role] + 1]):
            if events.ratings[begin + place] >= least and place >= min_history:
                found.append((user, place, place, int(events.items[begin + place])))
    return sorted(found)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("least", [4.0, 5.0])
def test_an_event_has_the_role_of_its_place_and_what_came_before_it(two: Prepared, least: float, role: str) -> None:
    for history in (1, 9):
        wanted = by_loop(two, least, role, history)
        assert told(Rated(least, by="events", min_history=history), two, role) == wanted
        assert len(wanted) > 20


def test_the_yaml_files_are_the_tasks_of_a_chain(two: Prepared) -> None:
    for name, least in (("chain_liked", 4.0), ("chain_loved", 5.0)):
        task = build(tiny.node("task", name))
        assert told(task, two, "test") == by_loop(two, least, "test")
        assert task.task_name == f"{name.removeprefix('chain_')},by=events"
    for name in ("chain_gender", "chain_age", "chain_occupation"):
        assert build(tiny.node("task", name)).until == "cut"


def test_all_users_take_part_whatever_the_fold_and_only_the_cut_of_events_is_named(two: Prepared) -> None:
    task = Rated(by="events")
    for role in ROLES:
        folds = [told(task, two, role, dataclasses.replace(PROTOCOL, fold=fold)) for fold in (0, 4)]
        assert folds[0] == folds[1]
    assert len({user for user, *_ in told(task, two, "train")}) > 0.9 * two.num_users
    assert task.splits == ("events",)
    assert set(Rated().splits) == {"events", "users"}


def test_only_so_many_of_the_newest_train_and_all_are_asked_for(two: Prepared) -> None:
    every, some = Rated(by="events"), Rated(by="events", recent=3)
    newest: dict[str, list[Told]] = {}
    for case in told(every, two, "train"):
        newest[case[0]] = [*newest.get(case[0], []), case][-3:]
    assert told(some, two, "train") == sorted(case for cases in newest.values() for case in cases)
    assert len(told(some, two, "train")) < len(told(every, two, "train"))
    for role in ("valid", "test"):
        assert told(some, two, role) == told(every, two, role)
    assert some.task_name == every.task_name


def test_the_first_of_each_role_can_be_asked_for_alone(two: Prepared) -> None:
    for role in ROLES:
        first: dict[str, Told] = {}
        for case in told(Rated(by="events"), two, role):
            first.setdefault(case[0], case)
        assert told(Rated(by="events", which="first"), two, role) == sorted(first.values())


def test_a_share_of_the_labels_is_a_share_of_the_users_who_train_and_validate_alike(two: Prepared) -> None:
    whole = {role: told(Rated(by="events"), two, role) for role in ROLES}
    known = {user for cases in whole.values() for user, *_ in cases}
    before: set[str] = set()
    for share in (0.1, 0.4):
        part = Rated(by="events", label_fraction=share)
        found = {role: told(part, two, role) for role in ROLES}
        users = {user for role in ("train", "valid") for user, *_ in found[role]}
        assert before < users
        assert len(users) <= round(share * len(known))
        assert found["test"] == whole["test"]
        for role in ("train", "valid"):
            assert found[role] == [case for case in whole[role] if case[0] in users]
        before = users


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"by": "event"}, "by is 'event'"), ({"by": "events", "pairs": True}, "at random"),
     ({"recent": 3}, "recent is 3"), ({"by": "events", "recent": 0}, "recent is 0")],
)  # fmt: skip
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Rated(**settings)
    assert caught.value.hint


def test_what_a_user_met_before_a_target_is_not_offered_again(two: Prepared) -> None:
    task, events = Rated(by="events"), two.sequences()
    cases = task.cases(two, PROTOCOL, "test")
    seen = task.seen(two, PROTOCOL, cases)
    assert seen.starts.tolist() == events.offsets[cases.rows].tolist()
    assert seen.ends.tolist() == cases.ends.tolist()
    assert (events.items[seen.ends] == cases.targets).all()


def test_the_loss_and_the_slices_count_training_targets_alone(two: Prepared) -> None:
    task = Rated(by="events", loss="sampled", negatives=8)
    task.feed(two, PROTOCOL, np.ones(two.num_users, dtype=bool), 30, 16)
    targets = [target for *_, target in by_loop(two, 4.0, "train")]
    counts = np.bincount(targets, minlength=two.sequences().vocab_size)
    weights = np.maximum(counts, 1.0)
    weights[:2] = 0
    np.testing.assert_allclose(task.item_loss.sampler.probabilities.numpy(), weights / weights.sum())
    cases = task.cases(two, PROTOCOL, "test")
    values = task.slice_values(two, PROTOCOL, cases)
    assert values["popularity"].tolist() == counts[cases.targets].tolist()
    assert values["history"].tolist() == (cases.ends - two.sequences().offsets[cases.rows]).tolist()


@pytest.mark.parametrize("baseline", [Popularity, ItemKNN, Ridge])
def test_a_ranking_baseline_learns_from_what_lies_before_the_cut_alone(two: Prepared, baseline: Any) -> None:
    learned = []
    for data in (two, scrambled(two, "train_end")):
        parts = Rated(by="events", recent=4).learned_from(data, PROTOCOL)
        learned.append([part.pairs(np.arange(len(part.ends))) for part in parts])
    for kept, other in zip(*learned, strict=True):
        assert [column.tolist() for column in kept] == [column.tolist() for column in other]
    task = Rated(by="events", recent=4)
    assert len(learned[0][1][0]) == len(told(task, two, "train"))
    found = baseline().fit_predict(two, PROTOCOL, task)
    assert found.users.tolist() == task.cases(two, PROTOCOL, "test").rows.tolist()


def scrambled(data: Prepared, end: str) -> Prepared:
    """Open the same data with other items from a cut on."""
    other, events = Prepared(data.path), data.sequences()
    late = np.arange(len(events.items)) >= (events.offsets[:-1] + getattr(data.split("chain"), end))[events.owners()]
    items = np.where(late, 2 + (np.asarray(events.items) + 5) % (events.vocab_size - 2), events.items)
    other._sequences["main"] = dataclasses.replace(events, items=items.astype(np.int32))
    return other


def test_the_next_item_trains_before_the_first_cut_validates_before_the_second_and_tests_after(two: Prepared) -> None:
    task, events, split = NextItem(), two.sequences(), two.split("chain")
    feed = task.feed(two, PROTOCOL, np.ones(two.num_users, dtype=bool), 8, 16)
    for rng in map(np.random.default_rng, range(3)):
        windows = np.concatenate(feed.order(rng))
        cut = events.offsets[:-1] + split.train_end
        assert (windows[:, 1] <= cut[windows[:, 2]]).all()
        answers = np.concatenate([np.arange(begin + 1, end) for begin, end, _ in windows])
        due = [np.arange(begin + 1, end) for begin, end in zip(events.offsets, cut, strict=False)]
        assert sorted(answers.tolist()) == sorted(np.concatenate(due).tolist())
    for role, first, stop in (("valid", split.train_end, split.valid_end), ("test", split.valid_end, None)):
        cases = task.cases(two, PROTOCOL, role)
        assert (cases.ends == events.offsets[cases.rows] + first[cases.rows]).all()
        assert stop is None or (cases.ends < events.offsets[cases.rows] + stop[cases.rows]).all()
        assert len(cases) > 0.9 * two.num_users


def test_a_user_who_cannot_be_cut_only_trains(tmp_path: Path) -> None:
    data = prepared_from(tmp_path, user_of("u", "abcdefghij") + user_of("v", "abc", [0, 0, 1]))
    for task in (Rated(1.0, by="events"), NextItem()):
        asked = [task.cases(data, PROTOCOL, role).rows.tolist() for role in ("valid", "test")]
        assert asked == [[0], [0]]
    places = [(user, place) for user, place, *_ in told(Rated(1.0, by="events"), data, "train")]
    assert places == [("u", place) for place in range(1, 8)] + [("v", 1), ("v", 2)]


def test_a_label_is_told_from_the_events_before_the_cut(two: Prepared) -> None:
    whole, cut = Classify("gender"), Classify("gender", until="cut")
    ends = two.sequences().offsets[:-1] + two.split("chain").train_end
    for role in ROLES:
        cases, others = cut.cases(two, PROTOCOL, role), whole.cases(two, PROTOCOL, role)
        assert cases.rows.tolist() == others.rows.tolist()
        assert cases.ends.tolist() == ends[cases.rows].tolist()
        assert others.ends.tolist() == two.sequences().offsets[others.rows + 1].tolist()
    assert (whole.splits, set(cut.splits)) == (("users",), {"events", "users"})
    with pytest.raises(ConfigError, match="until is 'start'"):
        Classify("gender", until="start")


LABELLED = {"bag": BagLR(["idf"], [1.0]), "svd": SvdLR(4, ["l2"], [1.0]), "random": RandomEncoder(8, [1, 2])}


@pytest.mark.parametrize("name", LABELLED)
def test_a_baseline_of_a_label_before_the_cut_reads_nothing_after_it(two: Prepared, name: str) -> None:
    other = scrambled(two, "train_end")

    def predict(task: Objective, data: Prepared) -> np.ndarray:
        return LABELLED[name].fit_predict(data, PROTOCOL, task).probabilities

    for until in ("cut", "end"):
        found = [predict(Classify("gender", until=until), data) for data in (two, other)]
        assert np.array_equal(*found) is (until == "cut")


def test_a_task_in_another_domain_can_read_the_source_before_the_cut_alone(two: Prepared) -> None:
    whole, cut = CrossDomain(), CrossDomain(until="cut")
    begins, ends = two.sequences().offsets[:-1], two.split("chain").train_end
    for role in ROLES:
        cases, others = cut.cases(two, PROTOCOL, role), whole.cases(two, PROTOCOL, role)
        assert cases.met.tolist() == others.met.tolist()
        assert cases.ends.tolist() == np.minimum(others.ends, (begins + ends)[cases.rows]).tolist()
    assert (whole.splits, cut.splits) == (("users",), ("events", "users"))
    assert cut.task_name == "cold_k,until=cut"
    with pytest.raises(ConfigError, match="history=both reads them as one"):
        CrossDomain(history="both", until="cut")


def test_a_domain_after_another_is_a_chain_of_one_cut_only_so(two: Prepared) -> None:
    everybody = np.ones(two.num_users, dtype=bool)
    first = NextItem().exposure(two, PROTOCOL, everybody)
    for until, clean in (("cut", True), ("end", False)):
        second = CrossDomain(until=until).exposure(two, PROTOCOL, everybody)
        assert not list(leaks(first, second))
        assert (not list(leaks(second, first))) is clean

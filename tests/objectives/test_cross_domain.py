"""Tasks in another domain, and after a cut of one: whose target is asked for by which history."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from tests.sequences.listed import Event, prepared_from, user_of
from userrep.build import build
from userrep.errors import ConfigError, DataError
from userrep.objectives.cross_domain import CrossDomain
from userrep.objectives.objective import ROLES
from userrep.objectives.rated import Rated
from userrep.objectives.target_items import TargetItems
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared
from userrep.sequences.vocab import RESERVED

TASKS = ["cold_first", "cold_k", "liked", "loved"]
PROTOCOL = Protocol(history=30, events="chain")
HOME = dataclasses.replace(PROTOCOL, source="home")
every_task = pytest.mark.parametrize("name", TASKS)


def lived(folder: Path, lives: dict[str, str], times: dict[str, list[int | None]] | None = None) -> Prepared:
    """Prepare users whose capital letters are items of the domain `away`, without times unless given."""
    told = times or {name: [None] * len(items) for name, items in lives.items()}
    events: list[Event] = [event for name, items in lives.items() for event in user_of(name, items, told[name])]
    return prepared_from(folder, events, domains=["away" if item.isupper() else "home" for _, item, _ in events])


def all_cases(task: TargetItems, data: Prepared, protocol: Protocol = PROTOCOL) -> list[tuple[str, str, str, str]]:
    """Return (user, history, target, met before) of every case of any role, as raw ids, sorted."""
    found, inputs, targets = [], task.inputs(data, protocol), task.targets(data, protocol)
    for role in ROLES:
        cases = task.cases(data, protocol, role)
        seen = task.seen(data, protocol, cases)
        for place, (row, end, target) in enumerate(zip(cases.rows, cases.ends, cases.targets, strict=True)):
            history = inputs.items[inputs.offsets[row] : end]
            met = seen.items[seen.starts[place] : seen.ends[place]]
            texts = ["".join(inputs.item_ids[index - RESERVED] for index in history)]
            texts += [targets.item_ids[target - RESERVED], "".join(targets.item_ids[index - RESERVED] for index in met)]
            found.append((data.user_ids[row], *texts))
    return sorted(found)  # type: ignore[return-value]


LIVES = {"u": "AabABcA", "v": "aB", "w": "abc", "x": "AB"}


def test_a_first_target_is_asked_for_once_and_only_where_a_source_event_came_before(tmp_path: Path) -> None:
    assert all_cases(CrossDomain(which="first"), lived(tmp_path, LIVES), HOME) == [("v", "a", "B", "")]


def test_every_target_has_the_source_events_before_it_and_is_not_offered_what_was_met(tmp_path: Path) -> None:
    data = lived(tmp_path, LIVES)
    wanted = [("u", "ab", "A", "A"), ("u", "ab", "B", "AA"), ("u", "abc", "A", "AAB"), ("v", "a", "B", "")]
    assert all_cases(CrossDomain(), data, HOME) == wanted
    assert all_cases(CrossDomain(min_history=3), data, HOME) == wanted[2:3]


def test_a_history_of_both_domains_holds_the_same_targets_and_all_events_before_them(tmp_path: Path) -> None:
    data, both = lived(tmp_path, LIVES), CrossDomain(history="both")
    assert all_cases(both, data, HOME) == [
        ("u", "Aab", "A", "A"), ("u", "AabA", "B", "AA"), ("u", "AabABc", "A", "AAB"), ("v", "a", "B", ""),
    ]  # fmt: skip
    assert both.extra_items(data, HOME) == 2
    assert CrossDomain().extra_items(data, HOME) == 0


def test_a_cut_by_time_takes_strictly_earlier_events_only(tmp_path: Path) -> None:
    data = lived(tmp_path, {"u": "aAbBc", "v": "aB"}, {"u": [0, 1, 1, 1, 2], "v": [4, 4]})
    assert all_cases(CrossDomain(cut="order"), data) == [
        ("u", "a", "A", ""), ("u", "ab", "B", "A"), ("v", "a", "B", ""),
    ]  # fmt: skip
    assert all_cases(CrossDomain(cut="time"), data) == [("u", "a", "A", ""), ("u", "a", "B", "")]
    assert all_cases(CrossDomain(cut="time", history="both"), data) == [("u", "a", "A", ""), ("u", "a", "B", "")]


def test_the_protocol_names_the_source_and_the_other_domain_is_the_target(tmp_path: Path) -> None:
    found = all_cases(CrossDomain(), lived(tmp_path, LIVES))  # away is the main domain: it comes first
    assert found == [("u", "A", "a", ""), ("u", "A", "b", "a"), ("u", "AAB", "c", "ab")]


@pytest.mark.parametrize("cut", ["order", "time"])
@pytest.mark.parametrize("history", ["source", "both"])
def test_cases_on_generated_data_equal_a_plain_loop(two: Prepared, history: str, cut: str) -> None:
    task, source, target = CrossDomain(history=history, cut=cut), two.sequences("main"), two.sequences("target")
    expected = []
    for row, user in enumerate(two.user_ids):
        lived = []
        for domain, sequences in (("main", source), ("target", target)):
            for event in range(sequences.offsets[row], sequences.offsets[row + 1]):
                item = sequences.item_ids[sequences.items[event] - RESERVED]
                lived.append((sequences.order[event], sequences.times[event], domain, item))
        lived.sort()
        for place, time, domain, item in lived:
            before = [e for e in lived if (e[1] < time if cut == "time" else e[0] < place)]
            read = "".join(e[3] for e in before if e[2] == "main" or history == "both")
            met = "".join(e[3] for e in before if e[2] == "target")
            if domain == "target" and any(e[2] == "main" for e in before):
                expected.append((user, read, item, met))
    assert all_cases(task, two) == sorted(expected)


@pytest.mark.parametrize(("least", "name"), [(4.0, "liked"), (5.0, "loved")])
def test_what_is_liked_after_the_cut_is_asked_for_with_all_before_it(two: Prepared, least: float, name: str) -> None:
    task, events, cut = Rated(least), two.sequences(), two.split("chain").train_end
    expected = []
    for row, user in enumerate(two.user_ids):
        own = slice(events.offsets[row], events.offsets[row + 1])
        items, ratings = [events.item_ids[index - RESERVED] for index in events.items[own]], events.ratings[own]
        for place in range(cut[row], len(items)):
            if ratings[place] >= least:
                expected.append((user, "".join(items[: cut[row]]), items[place], "".join(items[:place])))
    assert all_cases(task, two) == sorted(expected)
    assert task.task_name == name
    assert set(task.splits) == {"events", "users"}


@every_task
def test_the_targets_of_a_user_never_train_and_test(two: Prepared, name: str) -> None:
    task = build(tiny.node("task", name))
    roles = {role: set(task.cases(two, PROTOCOL, role).rows.tolist()) for role in ROLES}
    assert all(roles.values())
    assert not roles["train"] & roles["test"]
    assert not roles["train"] & roles["valid"]
    assert not roles["valid"] & roles["test"]
    split = two.split(PROTOCOL.users, PROTOCOL.fold)
    assert all((split.user_role[list(rows)] == ROLES[role]).all() for role, rows in roles.items())


@every_task
def test_over_the_folds_every_case_is_tested_once(two: Prepared, name: str) -> None:
    tested, cases = [], []
    for fold in range(5):
        protocol = dataclasses.replace(PROTOCOL, fold=fold)
        task = build(tiny.node("task", name))
        tested += task.cases(two, protocol, "test").met.tolist()
        cases.append(sorted(met for role in ROLES for met in task.cases(two, protocol, role).met.tolist()))
    assert sorted(tested) == cases[0] == cases[4]


def test_only_the_published_split_by_pairs_lets_a_user_train_and_test(two: Prepared) -> None:
    task = CrossDomain(pairs=True)
    cases = {role: task.cases(two, PROTOCOL, role) for role in ROLES}
    total = sum(map(len, cases.values()))
    cuts = [0, total * 80 // 100, total * 85 // 100, total]
    assert [len(cases[role]) for role in ROLES] == np.diff(cuts).tolist()
    assert set(cases["train"].rows) & set(cases["test"].rows)
    assert "pairs=True" in task.task_name
    assert task.splits == ()
    again = CrossDomain(pairs=True).cases(two, dataclasses.replace(PROTOCOL, fold=2), "test")
    assert again.met.tolist() == cases["test"].met.tolist()


@every_task
def test_fewer_labels_are_fewer_users_nested_and_the_test_keeps_all(two: Prepared, name: str) -> None:
    kept: dict[float, dict[str, set[int]]] = {}
    for fraction in (1.0, 0.5, 0.1):
        task = build(tiny.node("task", name) | {"label_fraction": fraction})
        kept[fraction] = {role: set(task.cases(two, PROTOCOL, role).rows.tolist()) for role in ROLES}
    for role in ("train", "valid"):
        assert kept[0.1][role] < kept[0.5][role] < kept[1.0][role]
        assert len(kept[0.5][role]) == round(0.5 * len(kept[1.0][role]))
    assert kept[0.1]["test"] == kept[1.0]["test"]
    whole = build(tiny.node("task", name)).cases(two, PROTOCOL, "train")
    some = build(tiny.node("task", name) | {"label_fraction": 0.5}).cases(two, PROTOCOL, "train")
    assert some.met.tolist() == whole.take(np.isin(whole.rows, list(kept[0.5]["train"]))).met.tolist()


def test_other_draws_of_labels_are_other_users(two: Prepared) -> None:
    first, other = (
        set(CrossDomain(label_fraction=0.3, label_draw=draw).cases(two, PROTOCOL, "train").rows.tolist())
        for draw in (0, 1)
    )
    assert first != other


def test_names_tell_apart_who_is_asked_for_what(two: Prepared) -> None:
    assert CrossDomain(which="first").task_name == "cold_first"
    assert CrossDomain().task_name == "cold_k"
    assert CrossDomain(history="both", min_history=3).task_name == "cold_k,min_history=3,history=both"
    assert CrossDomain(target="away", cut="time").task_name == "cold_k,target=away,cut=time"
    assert Rated(3.5).task_name == "rated_3.5"
    assert CrossDomain(label_fraction=0.1, norm="layer", loss="bpr").task_name == "cold_k"  # an effort, no condition


def test_what_is_left_out_is_counted_and_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, task = lived(tmp_path, LIVES), CrossDomain(which="first")
    for role in ROLES:
        task.cases(data, HOME, role)
    assert "".join(capsys.readouterr()).count("left out: 1 of 2 away targets have no home event before them") == 1


def test_domains_that_share_no_user_are_refused(tmp_path: Path) -> None:
    data = lived(tmp_path, {"u": "abc", "v": "ABC"})
    with pytest.raises(DataError, match="home and away share no user"):
        CrossDomain().cases(data, HOME, "train")


def test_targets_that_all_come_first_are_refused(tmp_path: Path) -> None:
    data = lived(tmp_path, {"u": "AAab", "v": "Bb"})
    with pytest.raises(DataError, match="has no target for cold_k"):
        CrossDomain().cases(data, HOME, "train")


def test_one_domain_alone_is_refused(tmp_path: Path) -> None:
    data = prepared_from(tmp_path, user_of("u", "abc"))
    with pytest.raises(DataError, match="no domain but main"):
        CrossDomain().cases(data, PROTOCOL, "train")


def test_without_times_a_cut_by_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no times to cut at"):
        CrossDomain(cut="time").cases(lived(tmp_path, LIVES), HOME, "train")


def test_without_ratings_nothing_is_liked(tmp_path: Path) -> None:
    data = lived(tmp_path, LIVES)
    (entry,) = [entry for entry in data.meta["domains"] if entry["name"] == "home"]
    entry["ratings"] = False
    with pytest.raises(DataError, match="home has no ratings"):
        Rated().cases(data, HOME, "train")


def test_of_several_domains_the_target_must_be_named(tmp_path: Path) -> None:
    events = user_of("u", "abc", [None] * 3) * 3
    data = prepared_from(tmp_path, events, domains=["one"] * 3 + ["two"] * 3 + ["three"] * 3)
    with pytest.raises(ConfigError) as caught:
        CrossDomain().cases(data, PROTOCOL, "train")
    assert "two, three" in caught.value.hint
    assert len(all_cases(CrossDomain(target="three"), data)) == 3
    with pytest.raises(ConfigError, match="the source itself"):
        CrossDomain(target="one").cases(data, PROTOCOL, "train")
    with pytest.raises(DataError, match="no domain 'tree'") as unknown:
        CrossDomain(target="tree").cases(data, PROTOCOL, "train")
    assert "three" in unknown.value.hint


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"which": "last"}, "task.which is 'last'"),
        ({"history": "target"}, "task.history is 'target'"),
        ({"cut": "day"}, "task.cut is 'day'"),
        ({"norm": "max"}, "task.norm is 'max'"),
        ({"min_history": 0}, "task.min_history is 0"),
        ({"label_fraction": 0.0}, "task.label_fraction is 0"),
        ({"loss": "sampled", "bias": True}, "cannot train an item bias"),
        ({"which": "first", "history": "both"}, "history=both is history=source"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_a_way_out(settings: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CrossDomain(**settings)
    assert part in caught.value.message
    assert caught.value.hint

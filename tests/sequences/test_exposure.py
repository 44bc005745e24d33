"""Where what one task learns meets what another is judged by, against loops over events and users."""

import numpy as np
import pytest

from tests.sequences.listed import prepared_from, user_of
from userrep.objectives.cross_domain import CrossDomain
from userrep.sequences.exposure import Exposure, Leak, by_domain, events_at, events_between, leaks
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Two users with small letters at home and capital ones away."""
    events = user_of("u", "aAbABcA", [None] * 7) + user_of("v", "aBb", [None] * 3)
    domains = ["away" if item.isupper() else "home" for _, item, _ in events]
    return prepared_from(tmp_path_factory.mktemp("lived"), events, domains=domains)


@pytest.mark.parametrize("seed", range(5))
def test_ranges_that_overlap_mark_what_lies_in_any_of_them(lived: Prepared, seed: int) -> None:
    sequences, rng = lived.sequences("home"), np.random.default_rng(seed)
    bounds = np.sort(rng.integers(0, len(sequences.items) + 1, size=(4, 2)), axis=1)
    wanted = [any(begin <= event < end for begin, end in bounds) for event in range(len(sequences.items))]
    assert events_between(sequences, *bounds.T)["home"].tolist() == wanted
    assert np.flatnonzero(events_at(sequences, bounds[:, 0] % 3)["home"]).tolist() == sorted(set(bounds[:, 0] % 3))


def test_events_of_two_domains_in_one_history_are_told_apart(lived: Prepared) -> None:
    merged = lived.merged("home", "away")
    mask = np.arange(len(merged.items)) % 2 == 0  # u: a b B A of aAbABcA, v: B of aBb
    found = by_domain(merged, mask)
    assert {name: found[name].tolist() for name in ("home", "away")} == {
        "home": [True, True, False, False, False], "away": [False, False, True, True, True],
    }  # fmt: skip


def test_a_history_of_both_domains_is_read_in_both_and_answered_in_one(lived: Prepared) -> None:
    protocol = Protocol(history=2, events="chain", source="home")
    task = CrossDomain(history="both")
    said = task.exposure(lived, protocol, np.ones(2, dtype=bool))
    merged, cases = lived.merged("home", "away"), task.cases(lived, protocol, "train")
    read = {event for row, end in zip(cases.rows, cases.ends, strict=True)
            for event in range(max(merged.offsets[row], end - 2), end)}  # fmt: skip
    mask = np.isin(np.arange(len(merged.items)), list(read))
    for name, marked in by_domain(merged, mask).items():
        assert said.inputs[name].tolist() == marked.tolist()
    assert set(said.answers) == {"away"}
    assert np.flatnonzero(said.answers["away"]).tolist() == sorted(cases.met.tolist())


EVENTS = np.arange(10)


def mask(*places: int) -> np.ndarray:
    return np.isin(EVENTS, places)


JUDGE = Exposure(
    judged={"valid": {"main": mask(4, 5)}, "test": {"main": mask(6, 7, 8, 9)}},
    taught=mask(0, 1), examined={"valid": mask(2), "test": mask(3, 4)},
)  # fmt: skip


@pytest.mark.parametrize(
    ("learner", "wanted"),
    [
        (Exposure(answers={"main": mask(0, 1, 2, 3)}, inputs={"main": mask(0, 1)}, taught=mask(0, 9)), []),
        (Exposure(answers={"main": mask(3, 9)}), [Leak("answers", "test", 0.25)]),
        (Exposure(inputs={"main": mask(*range(7))}), [Leak("inputs", "test", 0.25), Leak("inputs", "valid", 1.0)]),
        (Exposure(answers={"other": mask(*range(10))}), []),
        (Exposure(taught=mask(3, 8)), [Leak("labels", "test", 0.5)]),
        (Exposure(taught=mask(2)), [Leak("labels", "valid", 1.0)]),
    ],
    ids=["apart", "answers", "inputs", "another domain", "test labels", "validation labels"],
)
def test_a_leak_is_told_with_its_kind_its_role_and_its_share(learner: Exposure, wanted: list[Leak]) -> None:
    assert list(leaks(learner, JUDGE)) == wanted

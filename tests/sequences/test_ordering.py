"""Laws of the order of events: what a stable sort gives, whatever the numbers and however they lie."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from userrep.sequences.ordering import ordered, stable_order

NUMBERS = st.one_of(st.integers(-3, 3), st.integers(-(2**40), 2**40), st.sampled_from([-(2**62), 2**62, 2**63 - 1]))
TIMES = st.one_of(st.none(), st.integers(-4, 4), NUMBERS)
RATINGS = st.one_of(st.none(), st.sampled_from([5.0, float("nan"), 0.0, -0.0]))
EVENTS = st.lists(st.tuples(st.integers(0, 5), TIMES, RATINGS), min_size=1)


@given(st.lists(NUMBERS, min_size=1), st.sampled_from(["as they are", "sorted", "constant"]))
def test_places_are_those_of_a_stable_sort(drawn: list[int], how: str) -> None:
    found = {"as they are": drawn, "sorted": sorted(drawn), "constant": [drawn[0]] * len(drawn)}[how]
    values = np.array(found, dtype=np.int64)
    assert stable_order(values).tolist() == np.argsort(values, kind="stable").tolist()


@pytest.mark.parametrize("kind", [np.int32, np.uint16])
def test_narrow_numbers_are_as_wide_as_their_places_need(kind: type[np.generic]) -> None:
    values = np.random.default_rng(0).integers(0, 2**15, size=70_000).astype(kind)
    assert (stable_order(values) == np.argsort(values, kind="stable")).all()


@given(EVENTS, st.booleans(), st.sampled_from(["drawn", "numbered", "none"]))
def test_events_are_in_order_of_user_and_time_and_then_as_they_were(
    drawn: list[tuple[int, int | None, float | None]], timed: bool, rated: str
) -> None:
    user, time, rating = zip(*drawn, strict=True)
    ratings = {"drawn": rating, "numbered": range(len(drawn)), "none": [None] * len(drawn)}[rated]
    frame = pl.DataFrame(
        {
            "time": pl.Series(time if timed else [None] * len(drawn), dtype=pl.Int64),
            "rating": pl.Series(ratings, dtype=pl.Float32),
            "domain": [0] * len(drawn),
            "user": user,
            "row": range(len(drawn)),
        }
    )
    expected = frame.sort("user", "time", maintain_order=True, nulls_last=False)
    assert str(ordered(frame).rows()) == str(expected.rows())  # as text, in which NaN is NaN and -0 is not 0


@pytest.mark.parametrize("ratings", [[5.0, float("nan"), 5.0], [float("nan"), 5.0, float("nan")], [0.0, -0.0, 0.0]])
def test_a_rating_goes_with_its_event(ratings: list[float]) -> None:
    frame = pl.DataFrame({"time": [3, 1, 2], "rating": pl.Series(ratings, dtype=pl.Float32), "user": [0, 0, 0]})
    assert str(ordered(frame)["rating"].to_list()) == str([ratings[1], ratings[2], ratings[0]])


def test_the_least_number_is_no_time() -> None:
    frame = pl.DataFrame({"time": [5, -(2**63), None], "user": [0, 0, 0], "item": [0, 1, 2]})
    assert ordered(frame)["item"].to_list() == [1, 2, 0]

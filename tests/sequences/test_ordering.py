"""Laws of the order of events: what a stable sort gives, whatever the numbers and however they lie."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from userrep.sequences.ordering import ordered, stable_order

NUMBERS = st.one_of(st.integers(-3, 3), st.integers(-(2**40), 2**40), st.sampled_from([-(2**62), 2**62, 2**63 - 1]))
EVENTS = st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(-4, 4), NUMBERS)), min_size=1)


@given(st.lists(NUMBERS, min_size=1), st.sampled_from(["as they are", "sorted", "constant"]))
def test_places_are_those_of_a_stable_sort(drawn: list[int], how: str) -> None:
    found = {"as they are": drawn, "sorted": sorted(drawn), "constant": [drawn[0]] * len(drawn)}[how]
    values = np.array(found, dtype=np.int64)
    assert stable_order(values).tolist() == np.argsort(values, kind="stable").tolist()


@pytest.mark.parametrize("kind", [np.int32, np.uint16])
def test_narrow_numbers_are_as_wide_as_their_places_need(kind: type[np.generic]) -> None:
    values = np.random.default_rng(0).integers(0, 2**15, size=70_000).astype(kind)
    assert (stable_order(values) == np.argsort(values, kind="stable")).all()


@given(EVENTS, st.booleans(), st.booleans())
def test_events_are_in_order_of_user_and_time_and_then_as_they_were(
    drawn: list[tuple[int, int | None]], timed: bool, rated: bool
) -> None:
    user, time = zip(*drawn, strict=True)
    frame = pl.DataFrame(
        {
            "time": pl.Series(time if timed else [None] * len(drawn), dtype=pl.Int64),
            "rating": pl.Series(range(len(drawn)) if rated else [None] * len(drawn), dtype=pl.Float32),
            "domain": [0] * len(drawn),
            "user": user,
            "row": range(len(drawn)),
        }
    )
    assert ordered(frame).equals(frame.sort("user", "time", maintain_order=True, nulls_last=False))

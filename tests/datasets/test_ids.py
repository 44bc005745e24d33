"""Laws of ids that are numbers: they are as long as their texts, and hash as their texts do."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from userrep.datasets.ids import alike, hashed, written_bytes

NEAR_POWERS = st.integers(0, 18).flatmap(lambda digits: st.sampled_from([10**digits - 1, 10**digits, -(10**digits)]))
WHOLE = st.one_of(st.none(), NEAR_POWERS, st.integers(-(2**63), 2**63 - 1))


@given(st.lists(WHOLE))
def test_numbers_are_as_long_as_they_are_written(values: list[int | None]) -> None:
    written = [None if value is None else str(value) for value in values]
    expected = sum(len(text) for text in written if text is not None)
    assert written_bytes(pl.Series(values, dtype=pl.Int64)) == expected
    assert written_bytes(pl.Series(written, dtype=pl.String)) == expected


def test_texts_are_measured_in_bytes() -> None:
    assert written_bytes(pl.Series(["ü", None, "", "ab"])) == 4


@given(st.lists(st.integers(-(2**63), 2**63 - 1)), st.sampled_from(["a", "007", "+7", "7 ", ""]))
def test_a_number_hashes_as_its_text_beside_any_other(values: list[int], other: str) -> None:
    texts = [*map(str, values), other]
    assert hashed(pl.Series(texts))[: len(values)].to_list() == hashed(pl.Series(values, dtype=pl.Int64)).to_list()


def test_other_texts_of_a_number_hash_otherwise() -> None:
    assert hashed(pl.Series(["7", "07", "7.0", "+7"])).n_unique() == 4


@pytest.mark.parametrize("name", ["user", "item"])
def test_one_column_of_text_makes_all_of_its_name_text(name: str) -> None:
    numbers = pl.DataFrame({"user": [1, 12], "item": [3, 4]})
    mixed = numbers.with_columns(pl.Series(name, ["a", "b"]))
    found = pl.concat(alike([numbers, mixed], ["user", "item"]))
    other = "item" if name == "user" else "user"
    assert found[name].to_list() == [str(value) for value in numbers[name]] + ["a", "b"]
    assert found[other].to_list() == numbers[other].to_list() * 2

"""Laws of ids as numbers: a text becomes one only where no other text would become the same."""

import numpy as np
import polars as pl
import pytest

from userrep.sequences.coding import LARGEST, as_numbers, coded


@pytest.mark.parametrize("digits", range(1, LARGEST + 1))
def test_whole_numbers_of_so_many_digits_are_numbers(digits: int) -> None:
    found = as_numbers(pl.Series(["0", "1" + "0" * (digits - 1), "9" * digits]))
    assert found.to_list() == [0, 10 ** (digits - 1), 10**digits - 1]


@pytest.mark.parametrize(
    "odd", ["00", "007", "+7", "-7", "-0", "-00", " 7", "7 ", "1e3", "7.0", "0x1", "a", "٣", "", "1" * (LARGEST + 1)]
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_text_that_is_written_otherwise_keeps_all_as_texts(odd: str, place: int) -> None:
    ids = ["7", "10"]
    ids.insert(place, odd)
    assert as_numbers(pl.Series(ids)).to_list() == ids


@pytest.mark.parametrize("by_length", [False, True])
def test_places_are_those_in_the_sorted_texts_whether_they_are_numbers_or_not(by_length: bool) -> None:
    drawn = np.random.default_rng(0).integers(0, 10**6, size=500)
    texts = pl.Series([str(number) for number in np.append(drawn, drawn[:50])])
    known = sorted(set(texts), key=lambda text: (len(text) if by_length else 0, text))
    for ids in (texts, as_numbers(texts)):
        found, places = coded(ids, by_length=by_length)
        assert found.cast(pl.String).to_list() == known
        assert [known[place] for place in places] == texts.to_list()

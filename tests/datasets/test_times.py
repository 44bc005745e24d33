"""Times as people write them, against the standard library's clock."""

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from userrep.datasets.times import PER_SECOND, guess_unit, to_ticks

MOMENT = datetime(2024, 1, 31, 10, 0, 0, tzinfo=UTC)


def ticks(*texts: str | None, unit: str) -> list[int | None]:
    return to_ticks(pl.Series("time", texts, dtype=pl.String), unit).to_list()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-01-31", "2024-01-31T00:00:00+00:00"),
        ("2024-01-31 10:00:00", "2024-01-31T10:00:00+00:00"),
        ("2024-01-31T10:00:00Z", "2024-01-31T10:00:00+00:00"),
        ("2024-01-31 10:00:00.125 UTC", "2024-01-31T10:00:00.125+00:00"),
        ("2024-01-31T10:00:00+02:00", "2024-01-31T10:00:00+02:00"),
        ("2024-01-31 10:00:00.5 -0330", "2024-01-31T10:00:00.5-03:30"),
        ("2024/1/3 9:05", "2024-01-03T09:05:00+00:00"),
        ("1969-12-31T23:59:59", "1969-12-31T23:59:59+00:00"),
    ],
)
def test_iso_times_are_read_with_and_without_zone(text: str, moment: str) -> None:
    assert ticks(text, unit="text") == [round(datetime.fromisoformat(moment).timestamp() * 1e6)]


def test_what_is_no_time_is_null_and_harms_no_other() -> None:
    assert ticks("2024-01-31", "soon", None, "31/12/2024", "2024-13-01", unit="text")[1:] == [None] * 4
    assert ticks("5", "x", None, "nan", "inf", "9" * 30, "-1.5", " 7 ", unit="seconds") == [
        5_000_000, None, None, None, None, None, -1_500_000, 7_000_000,
    ]  # fmt: skip
    assert ticks("20240131", "20240230", "20240131.0", unit="days")[1] is None


@pytest.mark.parametrize(("unit", "factor"), PER_SECOND.items())
def test_the_unit_of_numbers_is_guessed_from_their_size(unit: str, factor: int) -> None:
    seconds = [int(MOMENT.timestamp()) + step for step in range(5)]
    texts = [str(second * factor) for second in seconds]
    assert guess_unit(pl.Series([*texts, "broken", None])) == unit
    assert ticks(*texts, unit=unit) == [second * 1_000_000 for second in seconds]


def test_days_and_texts_are_guessed_and_small_numbers_are_seconds() -> None:
    assert guess_unit(pl.Series(["20240131", "20231224", "20220101"])) == "days"
    assert guess_unit(pl.Series(["20240199", "20231299", "20229901"])) == "seconds"
    assert guess_unit(pl.Series(["2024-01-31", "2024-02-01", "7"])) == "text"
    assert guess_unit(pl.Series(["1", "2", "3"])) == "seconds"
    assert guess_unit(pl.Series([None, None], dtype=pl.String)) == "text"


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)))
def test_any_moment_survives_iso(moment: datetime) -> None:
    expected = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    micro = (expected.days * 86_400 + expected.seconds) * 1_000_000 + expected.microseconds
    assert ticks(moment.isoformat(), unit="text") == [micro]

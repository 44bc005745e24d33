"""Times as people write them: seconds, milliseconds and finer since 1970, days as 20240131, ISO 8601."""

import polars as pl

PER_SECOND = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}
UNITS = (*PER_SECOND, "days", "text")
FORMATS = (  # of "text", tried in order; without a zone, UTC is meant
    "%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M",
)  # fmt: skip
DAYS = (19_000_101, 21_001_231)  # numbers that are read as a day if all are
EDGES = {"seconds": 1e11, "milliseconds": 1e14, "microseconds": 1e17}  # up to the year 5138, whatever the unit


def guess_unit(values: pl.Series) -> str:
    """Return the one of UNITS in which most of these texts are written."""
    numbers = values.cast(pl.Float64, strict=False).drop_nulls().drop_nans()
    if 2 * len(numbers) < len(values.drop_nulls()):
        return "text"
    alike = numbers.filter(numbers.is_between(*DAYS)).cast(pl.Int64).cast(pl.String)
    if 2 * len(_days(alike).drop_nulls()) > len(numbers):
        return "days"
    size = numbers.abs().median()
    fitting = (unit for unit, edge in EDGES.items() if isinstance(size, float) and size < edge)
    return next(fitting, "nanoseconds" if len(numbers) else "text")


def to_ticks(values: pl.Series, unit: str) -> pl.Series:
    """Return texts or whole numbers as whole microseconds since 1970 (Int64), null where one is no such time."""
    if values.dtype.is_integer() and unit in PER_SECOND:
        return _scaled(values, PER_SECOND[unit])
    values = values.cast(pl.String).str.strip_chars()
    if unit == "text":
        return _moments(values)
    if unit == "days":
        return _days(values)
    per_second = PER_SECOND[unit]
    whole = values.cast(pl.Int64, strict=False)
    if whole.null_count() > values.null_count():  # some are written as 12.0 or 12.5
        wide = values.cast(pl.Float64, strict=False)
        wide = wide.set(~wide.is_finite() | (wide.abs() * 1e6 / per_second >= 2**62), None)
        fine = (wide * (1_000_000 / per_second)).round().cast(pl.Int64, strict=False)
        return _scaled(whole, per_second).zip_with(whole.is_not_null(), fine)
    return _scaled(whole, per_second)


def _scaled(whole: pl.Series, per_second: int) -> pl.Series:
    if per_second > 1_000_000:
        return whole // (per_second // 1_000_000)
    factor = 1_000_000 // per_second
    return whole.set(whole.abs() >= 2**62 // factor, None) * factor


def _days(values: pl.Series) -> pl.Series:
    found = values.str.strip_suffix(".0").str.to_date("%Y%m%d", strict=False)
    return found.cast(pl.Datetime("us")).to_physical()


def _moments(values: pl.Series) -> pl.Series:
    """Read ISO 8601: a date, with or without a time, with or without a zone; `/` and a space are understood."""
    text = values.str.replace_all("/", "-", literal=True).str.replace(r"^(\d{4}-\d{1,2}-\d{1,2}) +", "${1}T")
    text = text.str.replace(r"^(\d{4}-\d{1,2}-\d{1,2})$", "${1}T00:00").str.replace(r" ?(Z|UTC)$", "+00:00")
    text = text.str.replace(r" ([+-]\d\d:?\d\d)$", "${1}")
    found = pl.Series(values.name, [None] * len(values), dtype=pl.Datetime("us"))
    for layout in FORMATS:
        missing = found.is_null() & text.is_not_null()
        if not missing.any():
            break
        read = text.set(~missing, None).str.to_datetime(layout, time_unit="us", strict=False)
        if read.dtype.time_zone:  # type: ignore[attr-defined]
            read = read.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        found = found.zip_with(found.is_not_null(), read)
    return found.to_physical()

"""The columns that events must have, checked before anything is built on them."""

import polars as pl

from userrep.datasets.dataset import Events
from userrep.errors import DataError

COLUMNS: dict[str, pl.DataType] = {
    "user": pl.String(),
    "item": pl.String(),
    "time": pl.Int64(),
    "rating": pl.Float32(),
    "domain": pl.String(),
    "row": pl.Int64(),
}


def checked_frame(events: Events, name: str) -> pl.DataFrame:
    """Collect the events with the columns of COLUMNS and nothing else.

    Raises:
        DataError: a column is missing, there are no events, an id is empty, or only some events of a domain
        have a time.
    """
    given = events.frame.collect_schema()
    missing = sorted(COLUMNS.keys() - set(given.names()))
    if missing:
        raise DataError(
            f"the events of {name} have no column {missing[0]!r}",
            f"its reader must give {', '.join(COLUMNS)}",
        )
    numbers = {column: pl.Int64() for column in ("user", "item") if given[column] == pl.Int64}
    frame = events.frame.select(pl.col(column).cast(kind) for column, kind in (COLUMNS | numbers).items()).collect()
    if frame.is_empty():
        raise no_events(name)
    _refuse_empty_ids(frame, name)
    refuse_odd_domains(frame["domain"].unique(), name)
    _refuse_partial_times(frame, name)
    return frame


def checked_users(events: Events, labels: list[str], name: str) -> pl.DataFrame:
    """Return columns `user` and one text column a label, one row a user.

    Raises:
        DataError: a label is no column, or a user is listed twice.
    """
    columns = events.users.columns
    for label in labels:
        if label not in columns:
            known = ", ".join(column for column in columns if column != "user") or "none"
            raise DataError(f"{name} has no label {label!r}", f"its users have: {known}")
    users = events.users.select(pl.col(column).cast(pl.String) for column in ["user", *labels])
    twice = users.filter(pl.col("user").is_duplicated())
    if not twice.is_empty():
        raise DataError(f"{name} lists user {twice['user'][0]!r} twice", "keep one row a user in the file of users")
    return users


def refuse_strangers(labelled: pl.DataFrame, users: pl.Series, name: str) -> None:
    """Raise DataError where there are users with labels, and none of them is among `users`, who have events."""
    if not labelled.is_empty() and labelled.join(users.to_frame("user"), on="user", how="semi").is_empty():
        raise DataError(
            f"{name}: none of the {len(labelled):,} users in the file of users has an event",
            "write ids there as in the events; perhaps another column is meant",
        )


def no_events(name: str) -> DataError:
    """Say that a data set is empty."""
    return DataError(f"{name} has no events", "its raw file is empty or has a header only: get the file again")


def _refuse_empty_ids(frame: pl.DataFrame, name: str) -> None:
    for column in ("user", "item", "domain"):
        missing = pl.col(column).is_null()
        empty = frame.filter(missing | (pl.col(column) == "") if frame.schema[column] == pl.String else missing)
        if not empty.is_empty():
            raise DataError(
                f"{name}: event {empty['row'][0] + 1} has no {column}",
                "remove or complete this row of the raw file",
            )


def refuse_odd_domains(domains: pl.Series, name: str) -> None:
    """Raise DataError for a domain that cannot name a folder."""
    odd = domains.filter(~domains.str.contains(r"^\w[\w.-]*$"))
    if len(odd):
        raise DataError(f"{name}: {odd[0]!r} is no name of a domain", "use letters, digits, '-', '_' and '.'")


def _refuse_partial_times(frame: pl.DataFrame, name: str) -> None:
    timed = frame.group_by("domain").agg(pl.col("time").is_null().any() & pl.col("time").is_not_null().any())
    if timed["time"].any():
        row = frame.filter(pl.col("time").is_null())["row"][0]
        raise DataError(
            f"{name}: event {row + 1} has no time and others have",
            "complete this row, or use no times at all",
        )

"""From events to flat arrays: ordered, duplicates merged, rare users and items dropped, items numbered."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from userrep.datasets.dataset import Dataset, Events
from userrep.errors import DataError
from userrep.sequences.coding import as_numbers, coded
from userrep.sequences.ordering import merge_duplicates, ordered, shuffle_ties, stable_order
from userrep.sequences.schema import checked_frame, checked_users, refuse_strangers
from userrep.sequences.vocab import Vocabulary, before_last_two, rank_items


@dataclass(frozen=True)
class Domain:
    """The events of a domain: items (E,) int32, offsets (U+1,) and times (E,) int64, ratings (E,) float32.

    order (E,) int32 is each event's place in its user's history over all domains; None where there is one domain,
    or where some domains have times and others none.
    """

    name: str
    items: np.ndarray
    offsets: np.ndarray
    times: np.ndarray | None
    ratings: np.ndarray | None
    order: np.ndarray | None
    vocabulary: Vocabulary


@dataclass(frozen=True)
class Dropped:
    """What preparation left out."""

    duplicates: int  # events merged into an earlier one
    users: int
    items: int
    events: int  # by the filters, duplicates not included


@dataclass(frozen=True)
class Built:
    """All domains over one list of users; `users` has columns user and labels, in row order."""

    users: pl.DataFrame
    domains: list[Domain]
    item_text: pl.DataFrame
    dropped: Dropped


def assemble(events: Events, dataset: Dataset) -> Built:
    """Build the arrays of a data set from what its reader returned.

    Users are in order of (length, text) of their raw ids, which is numeric order for numbers, and each user's
    events in order of (time, row), or (time, random) with `ties=random`.

    Raises:
        DataError: the events are malformed, or the filters leave none.
    """
    labelled = checked_users(events, dataset.labels, dataset.name)
    frame = checked_frame(events, dataset.name)
    user_ids, owners = coded(as_numbers(frame["user"]), by_length=True)
    item_ids, met = coded(as_numbers(frame["item"]), by_length=False)
    user_ids, item_ids = user_ids.cast(pl.String), item_ids.cast(pl.String)
    names = frame["domain"].unique(maintain_order=True).to_list()
    given = _coded(frame, names, owners, met)
    merged = merge_duplicates(given, dataset.repeats)
    kept = _keep_dense(merged, dataset.min_user_events, dataset.min_item_events)
    refuse_nothing(len(kept), dataset.name)
    placed = shuffle_ties(kept, np.random.default_rng(dataset.ties_seed)) if dataset.ties == "random" else kept
    rows, user_of_event = _dense(placed["user"].to_numpy(), len(user_ids))
    placed = placed.with_columns(user=pl.Series(user_of_event))
    placed = placed.with_columns(order=_places(placed, frame))
    parts = [placed] if len(names) == 1 else [placed.filter(domain=code) for code in range(len(names))]
    domains = [_domain(name, part, len(rows), item_ids) for name, part in zip(names, parts, strict=True)]
    refuse_strangers(labelled, user_ids, dataset.name)
    users = user_ids[rows].to_frame("user").join(labelled, on="user", how="left", maintain_order="left")
    dropped = Dropped(
        duplicates=len(given) - len(merged),
        users=len(user_ids) - len(rows),
        items=len(item_ids) - int(np.count_nonzero(np.bincount(placed["item"].to_numpy()))),
        events=len(merged) - len(kept),
    )
    return Built(users, domains, events.item_text, dropped)


def refuse_nothing(events: int, name: str) -> None:
    """Raise DataError where no event is left."""
    if not events:
        raise DataError(
            f"the filters leave no event of {name}",
            "lower dataset.min_user_events or dataset.min_item_events",
        )


def _coded(frame: pl.DataFrame, names: list[str], users: np.ndarray, items: np.ndarray) -> pl.DataFrame:
    """Put in place of ids their ranks and of domains their places in `names`; sort by (user, time, row)."""
    domain = pl.col("domain").cast(pl.Enum(names)).to_physical() if len(names) > 1 else pl.lit(0)
    codes = frame.select(
        "time",
        "rating",
        domain=domain.cast(pl.Int64),
        user=pl.Series(users),
        item=pl.Series(items),
    )
    return ordered(codes if frame["row"].is_sorted() else codes[stable_order(frame["row"].to_numpy())])


def _keep_dense(events: pl.DataFrame, min_user: int, min_item: int) -> pl.DataFrame:
    """Drop users and items with fewer events than the minima, again and again until none is left to drop."""
    while len(events):
        enough = (pl.len().over("user") >= min_user) & (pl.len().over("domain", "item") >= min_item)
        kept = events.filter(enough) if max(min_user, min_item) > 1 else events
        if len(kept) == len(events):
            break
        events = kept
    return events


def _places(events: pl.DataFrame, frame: pl.DataFrame) -> pl.Series:
    """Return the place of each event in its user's history over all domains, null where there is no such order."""
    timed = frame.group_by("domain").agg(pl.col("time").is_not_null().any())["time"]
    if len(timed) == 1 or timed.n_unique() > 1:
        return pl.repeat(None, len(events), dtype=pl.Int32, eager=True)
    counts = np.bincount(events["user"].to_numpy())  # events are in order of their users
    place = np.arange(len(events)) - np.repeat(np.cumsum(counts) - counts, counts)
    return pl.Series(place.astype(np.int32))


def _domain(name: str, events: pl.DataFrame, num_users: int, item_ids: pl.Series) -> Domain:
    present, codes = _dense(events["item"].to_numpy(), len(item_ids))
    offsets = np.zeros(num_users + 1, dtype=np.int64)
    np.cumsum(np.bincount(events["user"].to_numpy(), minlength=num_users), out=offsets[1:])
    items, vocabulary = rank_items(codes, before_last_two(offsets), item_ids[present].to_list())
    order = None if events["order"].null_count() else events["order"].to_numpy()
    return Domain(name, items, offsets, _column(events["time"]), _column(events["rating"]), order, vocabulary)


def _dense(codes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes that occur, sorted, and each code's place among them."""
    occurs = np.bincount(codes, minlength=size) > 0
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[codes]


def _column(values: pl.Series) -> np.ndarray | None:
    """Return the values, missing ratings as NaN, or None where there are none at all."""
    return None if values.null_count() == len(values) else values.to_numpy()

"""What the columns of a table are, told from their names; nothing is told from their values but the unit of times."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from userrep.errors import DataError, suggest

NAMES = {  # of columns, in small letters and without signs; the first that is there is taken
    "user": (
        "user", "userid", "uid", "username", "customer", "customerid", "client", "clientid", "member", "memberid",
        "visitor", "visitorid", "reviewer", "reviewerid", "person", "personid", "account", "accountid", "player",
        "playerid", "author", "authorid", "listener", "reader", "session", "sessionid",
    ),
    "item": (
        "item", "itemid", "iid", "product", "productid", "movie", "movieid", "film", "filmid", "article", "articleid",
        "asin", "parentasin", "sku", "song", "songid", "track", "trackid", "artist", "artistid", "book", "bookid",
        "isbn", "video", "videoid", "news", "newsid", "game", "gameid", "app", "appid", "business", "businessid",
        "venue", "venueid", "poi", "place", "placeid", "recipe", "recipeid", "course", "courseid", "page", "url",
    ),
    "time": (
        "time", "timestamp", "ts", "datetime", "date", "unixtime", "unixreviewtime", "eventtime", "createdat",
        "created", "reviewtime", "ratedat", "playedat", "visitedat", "clickedat", "orderedat", "boughtat",
        "purchasedat", "day", "when", "at",
    ),
    "rating": ("rating", "score", "stars", "star", "rate", "overall", "grade"),
    "domain": ("domain", "scenario", "market", "site", "channel", "category", "section"),
}  # fmt: skip
TEXTS = ("title", "text", "name", "description", "itemname", "producttitle", "movietitle", "headline")
NEEDED = ("user", "item")
NONE = "none"  # what a flag says where a column is not to be taken
MOST_DOMAINS = 20  # a column of more kinds is taken only where it is named
MOST_CLASSES = 50


@dataclass(frozen=True)
class Label:
    """A column of the table of users: its classes, and why it cannot be a label (empty: it can)."""

    name: str
    classes: int
    reason: str


def plain_name(column: str) -> str:
    """Return a column's name in small letters, without signs and without RecBole's type."""
    return re.sub(r"[^a-z0-9]", "", column.partition(":")[0].lower())


def guess_columns(rows: pl.DataFrame, given: Mapping[str, str | None], path: object) -> dict[str, str | None]:
    """Return the column of each role of NAMES, None where there is none; `given` names some, or says "none".

    Raises:
        DataError: a named column is not there, two roles share one, or there is none for users or items.
    """
    columns = [column for column in rows.columns if column != "line"]
    found: dict[str, str | None] = {}
    for role, wanted in given.items():
        if wanted is not None and wanted.lower() != NONE and wanted not in columns:
            raise DataError(f"{path} has no column {wanted!r}; it has {', '.join(columns)}", suggest(wanted, columns))
        if wanted is not None:
            found[role] = _unshared(role, wanted, found, path) if wanted in columns else None
    for role, names in NAMES.items():
        if role not in found:
            free = [column for column in columns if column not in found.values()]
            found[role] = _first(free if role != "domain" else _of_few_kinds(rows, free), names)
    for role in NEEDED:
        if found[role] is None:
            flags = " ".join(f"--{key}-col COLUMN" for key in NEEDED)
            raise DataError(
                f"no column of {path} looks like the {role}s; it has {', '.join(columns)}",
                f"name them: {flags}; if the first line is no header: 'dataset.columns=[user,item,time]'",
            )
    return {role: found[role] for role in NAMES}


def _unshared(role: str, wanted: str, found: Mapping[str, str | None], path: object) -> str:
    for other, column in found.items():
        if column == wanted:
            cause = f"{path}: {wanted!r} is given as {other} and as {role}"
            raise DataError(cause, "name a column of its own for each")
    return wanted


def _first(columns: Sequence[str], names: Sequence[str]) -> str | None:
    by_name = {plain_name(column): column for column in reversed(columns)}
    return next((by_name[name] for name in names if name in by_name), None)


def _of_few_kinds(rows: pl.DataFrame, columns: Sequence[str]) -> list[str]:
    return [column for column in columns if rows[column].n_unique() <= MOST_DOMAINS]


def guess_key(columns: Sequence[str], role: str, in_events: str, path: object) -> str:
    """Return the column of a side table that names the user, or the item: the events' own name first.

    Raises:
        DataError: there is none.
    """
    found = in_events if in_events in columns else _first(columns, NAMES[role])
    if found is None:
        cause = f"no column of {path} looks like the {role}s; it has {', '.join(columns)}"
        raise DataError(cause, f"call it {in_events!r}, as in the events")
    return found


def guess_text(columns: Sequence[str], key: str, path: object) -> str:
    """Return the column of the table of items that holds their text; raise DataError where there is but the key."""
    others = [column for column in columns if column != key]
    if not others:
        raise DataError(f"{path} has no column beside {key!r}", "add a column with the text of each item")
    return _first(others, TEXTS) or others[0]


def judge_labels(users: pl.DataFrame, columns: Sequence[str]) -> list[Label]:
    """Say of each column whether it can be a label: two classes at least, and not nearly as many as users."""
    judged = []
    for column in columns:
        known = users[column].drop_nulls()
        classes = known.n_unique()
        reason = ""
        if classes < 2:
            reason = f"it has one class ({known[0]!r}): nothing to tell apart" if classes else "it is empty"
        elif classes > MOST_CLASSES:
            reason = f"it has {classes:,} classes"
        judged.append(Label(column, classes, reason))
    return judged

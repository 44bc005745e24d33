"""MovieLens 100K and 1M, the same to the last item and label from official and from atomic files."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from userrep.datasets.atomic import Atomic
from userrep.datasets.dataset import Events
from userrep.datasets.lines import AGAIN, parsed, read_fields
from userrep.datasets.raw import fetch_again, layout_of
from userrep.errors import DataError

AGE_BINS = (1, 18, 25, 35, 45, 50, 56)  # the least age of each bin of ml-1m, whose files hold nothing finer


@dataclass(frozen=True)
class Official:
    """The three files of an official archive, and what parts their fields."""

    name: str
    events: str
    separator: str
    users: str
    user_fields: tuple[str, ...]
    items: str
    table_separator: str


OFFICIAL = (
    Official("ml-100k", "u.data", "\t", "u.user", ("user", "age", "gender", "occupation", "zip"), "u.item", "|"),
    Official(
        "ml-1m", "ratings.dat", "::", "users.dat", ("user", "gender", "age", "occupation", "zip"), "movies.dat", "::"
    ),
)


@dataclass(kw_only=True)
class MovieLens(Atomic):
    """MovieLens with demographics: an item is a title with its year, so that a film is one item everywhere.

    Labels: gender as given, age as the bin of ml-1m it falls into, occupation as given (a code in ml-1m, a
    word in ml-100k). Two numbers of one title are one film: with `repeats=merge` only the first meeting is
    kept. stem is the name of the release, needed where a folder holds several.
    """

    def events(self, raw_dir: Path) -> Events:
        found = super().events(raw_dir) if layout_of(raw_dir) == "atomic" else self._official(raw_dir)
        frame = found.frame.collect()
        titles = frame["item"].unique()
        clean = titles.str.replace_all(r"\s+", " ").str.strip_chars()
        if not clean.equals(titles):
            frame = frame.with_columns(pl.col("item").replace_strict(titles, clean))
        texts = pl.DataFrame({"item": clean, "text": clean}).unique()
        return Events(frame.lazy(), _binned(found.users, raw_dir), texts)

    def _official(self, raw_dir: Path) -> Events:
        wanted = [known for known in OFFICIAL if self.stem in ("", known.name)]
        files = next((known for known in wanted if (raw_dir / known.events).exists()), None)
        if files is None:
            names = " and no ".join(known.events for known in wanted) or f"files of a release {self.stem!r}"
            raise DataError(f"{raw_dir} has no {names}", fetch_again(raw_dir))
        path = raw_dir / files.events
        events = read_fields(path, files.separator, ("user", "film", "rating", "time"))
        titles = _titles(raw_dir / files.items, files.table_separator)
        named = events.join(titles, on="film", how="left", maintain_order="left")
        _refuse_untitled(named, path, raw_dir / files.items)
        users = read_fields(raw_dir / files.users, files.table_separator, files.user_fields)
        return Events(self._typed(named, path).lazy(), users.select("line", "user", *self.labels), titles)


def _titles(path: Path, separator: str) -> pl.DataFrame:
    """Read columns film and item (its title) of the official list of films."""
    films = read_fields(path, separator, ("film", "item"), encoding="latin-1", more=True)
    twice = films.filter(pl.col("film").is_duplicated())
    if not twice.is_empty():
        raise DataError(f"{path}, line {twice['line'][1]}: film {twice['film'][1]} is listed twice", AGAIN)
    return films.select("film", "item")


def _refuse_untitled(events: pl.DataFrame, path: Path, items: Path) -> None:
    untitled = events.filter(pl.col("item").is_null())
    if not untitled.is_empty():
        line, film = untitled["line"][0], untitled["film"][0]
        raise DataError(f"{path}, line {line}: film {film!r} is not in {items.name}", AGAIN)


def _binned(users: pl.DataFrame, raw_dir: Path) -> pl.DataFrame:
    """Replace ages by the least age of their bin."""
    if "age" not in users.columns:
        return users
    known = parsed(users.filter(pl.col("age").is_not_null()), "age", pl.Int64, raw_dir / "the file of users")
    lowest = pl.lit(str(AGE_BINS[0]))
    for least in AGE_BINS[1:]:
        lowest = pl.when(pl.col("age") >= least).then(pl.lit(str(least))).otherwise(lowest)
    binned = known.select("user", binned=lowest)
    return users.join(binned, on="user", how="left", maintain_order="left").with_columns(age="binned").drop("binned")

"""Tenrec's csv files: one impression a row, with what the user did, in the order in which it happened.

Source: Yuan et al., Tenrec (NeurIPS 2022), whose recipes are the options here; no times are published.
"""

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from userrep.datasets.dataset import Dataset, Events, main_first
from userrep.datasets.lines import NO_TEXT, NOBODY, find_file, refuse_lines
from userrep.errors import ConfigError, DataError, suggest

TRUE, FALSE = ("1", "1.0"), ("0", "0.0")
UNKNOWN = ("", "0", "0.0")  # of gender and age


@dataclass(kw_only=True)
class Tenrec(Dataset):
    """Rows of one file a domain; a user has one id in all of them.

    files maps a domain to its csv, and signals a domain to the column that makes a row an event where it is 1:
    click, like, share or follow; click where it is not named. main is the domain that an encoder reads, whose file
    also has the labels.

    The recipe of the paper's experiments: min_item_count and max_item_count drop items of the main domain that
    occur less or more often; first_users keeps so many of its users, in the order of the file; with common, other
    domains keep no user that it lacks. None and False leave a step out.
    """

    files: dict[str, str] = field(default_factory=dict)
    main: str = ""
    signals: dict[str, str] = field(default_factory=dict)
    min_item_count: int | None = None
    max_item_count: int | None = None
    first_users: int | None = None
    common: bool = False

    def __post_init__(self) -> None:
        for key, name in (("main", self.main), *(("signals", domain) for domain in self.signals)):
            if name not in self.files:
                raise ConfigError(f"dataset.{key} names the domain {name!r}", suggest(name, self.files))

    def events(self, raw_dir: Path) -> Events:
        parts = {domain: self._domain(find_file(raw_dir, file), domain) for domain, file in self.files.items()}
        parts[self.main] = self._of_recipe(parts[self.main])
        users = parts[self.main].select("user").unique()
        if self.common:
            kept = {"on": "user", "how": "semi", "maintain_order": "left"}
            parts = {domain: part.join(users, **kept) for domain, part in parts.items()}  # type: ignore[arg-type]
        frame = pl.concat([part.select("user", "item", domain=pl.lit(domain)) for domain, part in parts.items()])
        frame = frame.with_columns(
            pl.lit(None, pl.Int64).alias("time"), pl.lit(None, pl.Float32).alias("rating"), row=pl.int_range(pl.len())
        )
        if frame.is_empty():
            raise DataError(f"{self.name} has no events left", "loosen dataset.min_item_count or dataset.first_users")
        return Events(main_first(frame, self.main).lazy(), self._labels(raw_dir, users), NO_TEXT)

    def _domain(self, path: Path, domain: str) -> pl.DataFrame:
        """Read columns user and item of the rows in which the user did what the domain's signal names."""
        signal = self.signals.get(domain, "click")
        rows = _scan(path, ["user_id", "item_id", signal]).with_row_index("line", offset=2)
        odd = ~pl.col(signal).fill_null("").is_in([*TRUE, *FALSE])
        empty = pl.col("user_id").is_null() | pl.col("item_id").is_null()
        fault = (
            pl.when(empty)
            .then(pl.lit("a row without user or item"))
            .otherwise(pl.format(f"{signal} is '{{}}', not 0 or 1", pl.col(signal).fill_null("")))
        )
        try:
            refuse_lines(path, rows.filter(odd | empty).select("line", fault=fault))
            found = rows.filter(pl.col(signal).is_in(TRUE)).select(user="user_id", item="item_id").collect()
        except pl.exceptions.PolarsError as error:
            raise DataError(f"cannot read {path}: {str(error).splitlines()[0]}", "get the file again") from error
        if found.is_empty():
            raise DataError(f"{path} has no row with {signal} 1", f"set dataset.signals.{domain} to another column")
        return found

    def _of_recipe(self, events: pl.DataFrame) -> pl.DataFrame:
        least, most = self.min_item_count, self.max_item_count
        if least is not None or most is not None:
            count = pl.len().over("item")
            events = events.filter((count >= (least or 0)) & (count <= most if most is not None else pl.lit(True)))
        if self.first_users is not None:
            kept = events.select("user").unique(maintain_order=True).head(self.first_users)
            events = events.join(kept, on="user", how="semi", maintain_order="left")
        return events

    def _labels(self, raw_dir: Path, users: pl.DataFrame) -> pl.DataFrame:
        """Read each user's labels; 0 is unknown, and so is a label that a user's rows disagree on."""
        if not self.labels:
            return NOBODY
        rows = _scan(find_file(raw_dir, self.files[self.main]), ["user_id", *self.labels])
        known = rows.with_columns(
            pl.when(~pl.col(label).is_in(UNKNOWN)).then(pl.col(label)).alias(label) for label in self.labels
        )
        agreed = known.group_by(user="user_id").agg(
            pl.when(pl.col(label).drop_nulls().n_unique() == 1).then(pl.col(label).drop_nulls().first()).alias(label)
            for label in self.labels
        )
        return agreed.collect().join(users, on="user", how="semi").sort("user")


def _scan(path: Path, columns: list[str]) -> pl.LazyFrame:
    """Scan columns of a csv as text, empty fields as null; raise DataError that names a column it lacks."""
    try:
        rows = pl.scan_csv(path, infer_schema=False)
        known = rows.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"cannot read {path}: {str(error).splitlines()[0]}", "get the file again") from error
    for name in columns:
        if name not in known:
            cause = f"{path} has no column {name!r}; it has {', '.join(known)}"
            raise DataError(cause, "it may be the file of another task of Tenrec: see docs/data.md")
    return rows.select(columns)

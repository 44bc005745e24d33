"""Two releases of MovieLens as two domains, which share titles and no user."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from userrep.datasets.dataset import Dataset, Events
from userrep.datasets.movielens import MovieLens
from userrep.datasets.raw import fetch_again
from userrep.datasets.together import Together
from userrep.errors import ConfigError, DataError

ROUNDING = 1e-9  # 0.29 of 100 events are 29, though the product lies a hair below


@dataclass(kw_only=True)
class MovieLensPair(Dataset):
    """A base learns from the users of `source`; the users of `target` are new to it, and so is their own domain.

    source and target are releases, and the domains are called after them; of their keys count those that say where
    their files are had and how they are read. An item is a title with its year, in each domain for itself.

    The first `history_share` of the events of each user of the target become events in the source domain, where it has
    their titles, and are dropped otherwise; the rest are his events in the target domain. First is by time, then by
    the order of the file. With `repeats=merge` a film counts at its first meeting, before the cut is made. These users
    are called NAME-ID after their release, and only they have labels: the others are then in no task, which is
    what `protocol.pretrain_users=source_only` asks for.
    """

    source: MovieLens
    target: MovieLens
    history_share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.history_share < 1:
            raise ConfigError(
                f"dataset.history_share is {self.history_share}", "give a share between 0 and 1, such as 0.5"
            )
        if self.ties != "file":
            raise ConfigError(
                f"dataset.ties is {self.ties!r}, but the cut between history and targets follows the order of the file",
                "set dataset.ties=file",
            )
        pairs = [(one, other) for one in self.source.sources for other in self.target.sources]
        together = [Together(parts=[*pair]) for pair in pairs if pair[0].layout == pair[1].layout != ""]
        self.sources = [*together, *self.sources]

    def events(self, raw_dir: Path) -> Events:
        old, new = self.source.events(raw_dir), self.target.events(raw_dir)
        met = old.frame.collect()
        titles = met["item"].unique()
        divided = self._divided(new.frame.collect()).with_columns(known=pl.col("item").is_in(titles.implode()))
        self._count(divided, raw_dir)
        name = pl.format(f"{self.target.name}-{{}}", "user").alias("user")
        domain = pl.when("history").then(pl.lit(self.source.name)).otherwise(pl.lit(self.target.name))
        kept = divided.filter(pl.col("known") | ~pl.col("history"))
        kept = kept.with_columns(name, domain=domain, row=pl.col("row") + len(met))
        frame = pl.concat([met.with_columns(domain=pl.lit(self.source.name)), kept.select(met.columns)])
        texts = pl.concat([old.item_text, new.item_text]).unique("item", keep="first", maintain_order=True)
        return Events(frame.lazy(), new.users.with_columns(name), texts)

    def _divided(self, events: pl.DataFrame) -> pl.DataFrame:
        """Sort the events by user and order; add the columns `counts`, false for what is merged, and `history`."""
        ordered = events.sort("user", "time", "row")
        counts = pl.struct("user", "item").is_first_distinct() if self.repeats == "merge" else pl.lit(True)
        ordered = ordered.with_columns(counts=counts)
        length = (pl.col("counts").sum().over("user") * self.history_share + ROUNDING).floor()
        history = pl.col("counts").cum_sum().over("user") <= length
        ordered = ordered.with_columns(history=history)
        if self.repeats == "merge":  # a later meeting goes where the first one went, and is merged into it
            ordered = ordered.with_columns(pl.col("history").first().over("user", "item"))
        return ordered

    def _count(self, divided: pl.DataFrame, raw_dir: Path) -> None:
        """Keep for the card what the two releases share, what is dropped and where the cuts lie."""
        source, target = self.source.name, self.target.name
        titles, events = divided.unique("item"), divided.filter("counts")
        shared, history = int(titles["known"].sum()), events.filter("history")
        if not shared:
            raise DataError(f"{source} and {target} in {raw_dir} share no title", fetch_again(raw_dir))
        kept, time = history.filter("known"), pl.col("time")
        without = events["user"].n_unique() - kept["user"].n_unique()
        sides = events.group_by("user").agg(time.filter("history").max(), ahead=time.filter(~pl.col("history")).min())
        self.counted = [
            f"{shared:,} of the {len(titles):,} titles of {target} are in {source}",
            f"{len(history) - len(kept):,} of the {len(history):,} events in the histories of {target} are dropped: "
            f"{source} lacks their titles; {without:,} of its users have no history left",
            f"{len(sides.filter(time == pl.col('ahead'))):,} of the {len(sides):,} cuts part events of one second, "
            "which are in the order of the file",
        ]

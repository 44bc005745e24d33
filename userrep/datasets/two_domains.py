"""Files of `lineNo TAB id,id,...`: one user a line, items of two domains in one order, told apart by number."""

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from userrep.datasets.dataset import Dataset, Events, main_first
from userrep.datasets.lines import NO_TEXT, NOBODY, find_file, parsed, read_fields, read_header, refuse_lines
from userrep.errors import ConfigError, DataError


@dataclass(kw_only=True)
class TwoDomains(Dataset):
    """Sequences without times; line numbers restart in each file, so that a user is called FILE-LINENO.

    files are read in this order, each found as NAME.txt or NAME.txt.gz. bounds gives each domain the numbers
    below its own bound that no earlier domain has. main names the domain that an encoder reads. texts is a
    table with the columns item and title, packed or not; where it is missing, items have no text.
    """

    files: list[str] = field(default_factory=list)
    bounds: dict[str, int] = field(default_factory=dict)
    main: str = ""
    texts: str = "items.tsv"

    def __post_init__(self) -> None:
        if self.main not in self.bounds:
            known = ", ".join(self.bounds) or "there are none"
            raise ConfigError(f"dataset.main is {self.main!r}", f"name one of the domains: {known}")

    def events(self, raw_dir: Path) -> Events:
        parts = [self._read(find_file(raw_dir, f"{name}.txt"), name) for name in self.files]
        frame = pl.concat(parts).with_columns(
            pl.lit(None, pl.Int64).alias("time"), pl.lit(None, pl.Float32).alias("rating"), row=pl.int_range(pl.len())
        )
        return Events(main_first(frame, self.main).lazy(), NOBODY, self._item_text(raw_dir))

    def _read(self, path: Path, name: str) -> pl.DataFrame:
        """Read columns user, item and domain of one file, in its order."""
        lines = read_fields(path, "\t", ("number", "ids"))
        twice = lines.filter(pl.col("number").is_duplicated())
        fault = pl.format("the number {} is given to two users", "number")
        refuse_lines(path, twice.lazy().select("line", fault=fault))
        ids = lines.with_columns(item=pl.col("ids").str.split(",")).drop("ids").explode("item", empty_as_null=True)
        ids = parsed(ids, "item", pl.Int64, path)
        last = max(self.bounds.values())
        odd = ids.lazy().filter(~pl.col("item").is_between(0, last, closed="left"))
        refuse_lines(path, odd.select("line", fault=pl.format("item {} belongs to no domain", "item")))
        domain = pl.lit(None, pl.String)
        for known, bound in sorted(self.bounds.items(), key=lambda entry: -entry[1]):
            domain = pl.when(pl.col("item") < bound).then(pl.lit(known)).otherwise(domain)
        return ids.select(
            user=pl.format("{}-{}", pl.lit(name), "number"), item=pl.col("item").cast(pl.String), domain=domain
        )

    def _item_text(self, raw_dir: Path) -> pl.DataFrame:
        try:
            path = find_file(raw_dir, self.texts)
        except DataError:
            return NO_TEXT
        fields = read_header(path, "\t")
        if not {"item", "title"} <= set(fields):
            raise DataError(f"{path} has the fields {', '.join(fields)}", "it needs item and title")
        table = read_fields(path, "\t", fields, skip=1)
        return table.select("item", text="title").unique("item", keep="first", maintain_order=True)

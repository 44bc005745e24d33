"""The official files of PeterRec, Conure and TERACON: `i1,...,in` to pre-train, `i1,...,in,,t1,t2,...` for a task.

Source: fajieyuan/SIGIR2020_peterrec, Data/Session; the loaders of PeterRec, Conure and TERACON split at `,,`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Literal

import polars as pl

from userrep import console
from userrep.datasets.dataset import Dataset, Events
from userrep.datasets.lines import NO_TEXT, NOBODY, find_file, read_lines, refuse_lines
from userrep.errors import ConfigError, DataError

PARTS = ",,"  # stands between a history and its targets
FEW = 20  # targets of so few kinds are classes rather than items


@dataclass(kw_only=True)
class PeterRecFiles(Dataset):
    """Histories of one source domain; each ranking file adds the items of a target domain, each profile file a label.

    pretrain names the file of histories alone; ranking maps a target domain to its file, profiles a label to its
    file. No file has user ids. With people "line", each line is a user of its own, called STEM-LINE; with "history",
    lines of one and the same history, in whatever file, are one user, called after the first of them.

    zeros: "left" takes zeros before a history for padding and refuses others, "anywhere" drops all, "items" keeps
    all. unknown says what becomes of an item of a history that the pretrain file does not have: "error", "drop"
    or "keep".
    """

    pretrain: str | None = None
    ranking: dict[str, str] | None = None
    profiles: dict[str, str] | None = None
    source: str = "source"
    people: Literal["line", "history"] = "line"
    zeros: Literal["left", "anywhere", "items"] = "left"
    unknown: Literal["error", "drop", "keep"] = "error"

    def __post_init__(self) -> None:
        if self.source in (self.ranking or ()):
            raise ConfigError(f"two domains are called {self.source!r}", "give dataset.source another name")
        absent = [label for label in self.labels if label not in (self.profiles or ())]
        if absent:
            raise ConfigError(f"no file gives the label {absent[0]!r}", f"set dataset.profiles.{absent[0]}=FILE")

    def events(self, raw_dir: Path) -> Events:
        if not self._files():
            raise DataError(f"{self.name} does not say what its files are", _how_to_say(raw_dir))
        histories: list[pl.DataFrame] = []
        targets: list[pl.DataFrame] = []
        labels: list[pl.DataFrame] = []
        people, vocabulary = pl.DataFrame(schema={"key": pl.UInt64, "user": pl.String}), None
        for kind, name, path in self._found(raw_dir):
            rows = _rows(path)
            (_refuse_targets if kind == "pretrain" else _refuse_none)(rows, path)
            rows, people = self._named(rows, path, people)
            history = self._history(rows.filter("first"), path, vocabulary)
            histories.append(history)
            if kind == "pretrain":
                vocabulary = history["item"].unique()
            elif kind == "ranking":
                found = _targets(rows, path)
                _warn_of_classes(found, path)
                targets.append(found.select("user", "item", domain=pl.lit(name)))
            else:
                labels.append(_labels(rows, path, name))
        frame = pl.concat([*histories, *targets]).with_columns(
            pl.lit(None, pl.Int64).alias("time"), pl.lit(None, pl.Float32).alias("rating"), row=pl.int_range(pl.len())
        )
        users = reduce(lambda left, right: left.join(right, on="user", how="full", coalesce=True), labels, NOBODY)
        return Events(frame.lazy(), users, NO_TEXT)

    def _files(self) -> list[tuple[str, str, str]]:
        """List kind, name and file of each; the pretrain file comes first."""
        first = [("pretrain", self.source, self.pretrain)] if self.pretrain else []
        ranking = [("ranking", domain, file) for domain, file in (self.ranking or {}).items()]
        return first + ranking + [("profile", label, file) for label, file in (self.profiles or {}).items()]

    def _found(self, raw_dir: Path) -> Iterator[tuple[str, str, Path]]:
        named: dict[str, str] = {}
        for kind, name, file in self._files():
            path = find_file(raw_dir, file)
            stem = path.name.partition(".")[0]
            if stem in named:
                raise ConfigError(f"{file} and {named[stem]} would name their users alike", "rename one of the files")
            named[stem] = file
            yield kind, name, path

    def _named(self, rows: pl.DataFrame, path: Path, people: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Add the columns user, and first (whether the line is its user's first); return who is known now, too."""
        own = pl.format("{}-{}", pl.lit(path.name.partition(".")[0]), "line")
        zeros = pl.col("history").str.replace(r"^(?:0(?:,|$))+", "") if self.zeros == "left" else pl.col("history")
        rows = rows.with_columns(zeros)
        if self.people == "line":
            return rows.with_columns(user=own, first=pl.lit(True)), people
        known = pl.when(pl.col("history") == "").then(own).otherwise("history")  # no history is nobody's in particular
        keyed = rows.with_columns(own=own, key=known.hash())
        new = keyed.select("key", user="own").unique("key", keep="first", maintain_order=True)
        new = new.join(people, on="key", how="anti", maintain_order="left")
        people = pl.concat([people, new])
        named = keyed.join(people, on="key", maintain_order="left")
        return named.with_columns(first=pl.col("own") == pl.col("user")), people

    def _history(self, rows: pl.DataFrame, path: Path, vocabulary: pl.Series | None) -> pl.DataFrame:
        """Return columns user, item and domain: the events of the source domain."""
        items = _ids(rows, "history", path)
        if self.zeros == "anywhere":
            items = items.filter(pl.col("item") != "0")
        elif self.zeros == "left":
            hint = "set dataset.zeros=anywhere (all are padding) or dataset.zeros=items (all are items)"
            inside = items.lazy().filter(pl.col("item") == "0")
            refuse_lines(path, inside.select("line", fault=pl.lit("a 0 after an item")), hint)
        if vocabulary is not None and self.unknown != "keep":
            new = items.join(vocabulary.to_frame(), on="item", how="anti", maintain_order="left")
            if self.unknown == "error":
                fault = pl.format(f"item {{}} is not in {self.pretrain}, which must cover all items", "item")
                hint = "set dataset.unknown=drop or dataset.unknown=keep, or give the file of the same release"
                refuse_lines(path, new.lazy().select("line", fault=fault), hint)
            items = items.join(vocabulary.to_frame(), on="item", how="semi", maintain_order="left")
        return items.select("user", "item", domain=pl.lit(self.source))


def _how_to_say(raw_dir: Path) -> str:
    there = sorted(path.name for path in raw_dir.glob("*") if path.name != "source.json")
    listed = ", ".join(there[:12]) or "nothing"
    says = "dataset.pretrain=FILE 'dataset.ranking={DOMAIN: FILE}' 'dataset.profiles={LABEL: FILE}'"
    return f"{raw_dir} holds {listed}; say what they are: {says}"


def _rows(path: Path) -> pl.DataFrame:
    """Read columns line, history and targets (null where a line has no `,,`), without spaces around commas."""
    text = pl.col("text").str.strip_chars()
    text = pl.when(text.str.contains(r"\s")).then(text.str.replace_all(r"\s*,\s*", ",")).otherwise(text)
    halves = text.str.splitn(PARTS, 2).struct.rename_fields(["history", "targets"])
    rows = read_lines(path).select("line", halves.struct.unnest())
    return rows.with_columns(pl.col("history", "targets").str.strip_suffix(",")).collect()


def _ids(rows: pl.DataFrame, column: str, path: Path) -> pl.DataFrame:
    """Return a row an id of `column`, called item, beside user and line; an id is text without spaces."""
    some = rows.filter(pl.col(column).fill_null("") != "")
    ids = some.select("line", "user", item=pl.col(column).str.split(",")).explode("item", empty_as_null=True)
    empty = ids.lazy().filter(pl.col("item") == "")
    refuse_lines(path, empty.select("line", fault=pl.lit("a field is empty")))
    spaced = ids.lazy().filter(pl.col("item").str.contains(r"\s"))
    refuse_lines(path, spaced.select("line", fault=pl.format("{} is no id", "item")))
    return ids


def _targets(rows: pl.DataFrame, path: Path) -> pl.DataFrame:
    return _ids(rows, "targets", path)


def _labels(rows: pl.DataFrame, path: Path, label: str) -> pl.DataFrame:
    """Return columns user and `label`; a user whose lines disagree has none."""
    classes = _ids(rows, "targets", path)
    several = classes.group_by("line", maintain_order=True).len().filter(pl.col("len") > 1)
    fault = pl.format("{} classes where a profile has one", "len")
    hint = f"this is a file of items: set dataset.ranking instead of dataset.profiles.{label}"
    refuse_lines(path, several.lazy().select("line", fault=fault), hint)
    agreed = classes.group_by("user", maintain_order=True).agg(
        pl.when(pl.col("item").n_unique() == 1).then(pl.col("item").first()).alias(label)
    )
    return agreed


def _refuse_targets(rows: pl.DataFrame, path: Path) -> None:
    there = rows.lazy().filter(pl.col("targets").is_not_null())
    hint = "this is the file of a task: set dataset.ranking or dataset.profiles instead of dataset.pretrain"
    refuse_lines(path, there.select("line", fault=pl.lit("targets after ',,' in a file to pre-train from")), hint)


def _refuse_none(rows: pl.DataFrame, path: Path) -> None:
    if rows["targets"].null_count() == len(rows):
        hint = "this is a file to pre-train from: set dataset.pretrain"
        raise DataError(f"{path} is no file of a task: no line has targets after ',,'", hint)


def _warn_of_classes(targets: pl.DataFrame, path: Path) -> None:
    kinds, rows = targets["item"].n_unique(), targets["line"].n_unique()
    if kinds <= FEW and rows == len(targets) and rows > 10 * kinds:
        console.warn(f"{path} has {kinds} targets on {rows:,} lines, one each: is it a profile (dataset.profiles)?")

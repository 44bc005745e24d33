"""A prepared data set on disk: a folder of tables and flat arrays, read as far as they are asked for."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from userrep.datasets.raw import raw_path, to_type
from userrep.errors import DataError, suggest
from userrep.files import digest, read_json
from userrep.packages import installed
from userrep.sequences.arrays import Sequences, merge
from userrep.sequences.flat import Flat, load
from userrep.sequences.split import Split
from userrep.sequences.vocab import RESERVED

if TYPE_CHECKING:
    from userrep.sequences.runs import Runs
    from userrep.sequences.tables import Tables

__all__ = ["FORMAT", "Prepared", "Sequences", "Split", "open_prepared", "prepared_path"]

FORMAT = 1  # raised whenever the files change their meaning
OPTIONAL = ("times", "ratings", "order")  # arrays that a domain may lack
WORDS = ("null", "true", "false", "nan", "inf")  # overrides take them for values
DESCRIPTIVE = {"title", "licence", "citation", "accept", "sources", "notes"}  # keys of a data set that change no event


def prepared_path(data_dir: Path, dataset_node: Mapping[str, Any]) -> Path:
    """Return where the data set of this config node is prepared; its descriptive keys do not matter."""
    return Path(data_dir) / "prepared" / f"{dataset_node['name']}-{digest(_decisive(dataset_node))[:8]}"


def _decisive(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a data set's node without its descriptive keys, and without those of data sets in it."""
    kept = {key: value for key, value in node.items() if key not in DESCRIPTIVE}
    inner = {key for key, value in kept.items() if isinstance(value, Mapping) and "_target_" in value}
    return {key: _decisive(value) if key in inner else value for key, value in kept.items()}


def open_prepared(data_dir: Path, dataset_node: Mapping[str, Any]) -> "Prepared":
    """Open the prepared data set of a config node.

    Raises:
        DataError: it has not been prepared, or by another version, or was copied in part; the hint holds the commands
        to type.
    """
    data_dir = Path(data_dir)
    path = prepared_path(data_dir, dataset_node)
    if not (path / "meta.json").exists():
        found = "has no meta.json: it was copied in part" if path.exists() else "does not exist"
        raise DataError(f"{dataset_node['name']} is not prepared: {path} {found}", _commands(data_dir, dataset_node))
    prepared = Prepared(path)
    fault = half_copied(prepared.path, prepared.meta)
    if fault:
        again = f", or prepare it again: {_commands(data_dir, dataset_node)} --fresh" if _prepares() else ""
        raise DataError(f"{path} is not whole: {fault}", f"copy the whole folder again{again}")
    return prepared


def half_copied(folder: Path, meta: Mapping[str, Any]) -> str:
    """Say which file has not the bytes that it was written with, as in half a copy; nothing where all have."""
    for name, due in meta.get("files", {}).items():  # an earlier userrep recorded none
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != due:
            return f"{name} has {path.stat().st_size:,} bytes, not {due:,}"
    return ""


def _prepares() -> bool:
    """Say whether data sets can be prepared on this machine."""
    return installed("polars", "hydra", "omegaconf")


def _commands(data_dir: Path, node: Mapping[str, Any]) -> str:
    """Write the commands that prepare the data set of this node, its changed keys included."""
    name = node["name"]
    if not _prepares():
        return f"prepare {name} where polars and hydra-core are installed, and copy its folder to this path"
    changed, elsewhere = _overrides(node)
    steps = [" ".join(["userrep preprocess", f"dataset={name}", *changed])]
    if node.get("sources") and not raw_path(data_dir, name).exists():
        steps.insert(0, " ".join([f"userrep download {name}", *(changed if elsewhere else [])]))
    return " && ".join(to_type(step, data_dir) for step in steps)


def _overrides(node: Mapping[str, Any]) -> tuple[list[str], bool]:
    """List the keys in which the node differs from its yaml, as they are typed; and say if its sources do."""
    from userrep.config import choices, compose  # brings Hydra, which is only wanted where something is amiss

    if node["name"] not in choices("dataset"):
        return [], False
    usual = compose("preprocess", [f"dataset={node['name']}"])["dataset"]
    changed = {key: value for key, value in node.items() if usual.get(key) != value}
    typed = [_typed(f"dataset.{key}", value) for key, value in changed.items() if key not in DESCRIPTIVE]
    return typed, "sources" in changed


def _typed(key: str, value: Any) -> str:
    """Write an override as it is typed in a shell."""
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z_/][\w./+-]*", value) and value.lower() not in WORDS
    text = value if plain else json.dumps(value, ensure_ascii=False)
    return shlex.quote(f"{key}={text}")


class Prepared:
    """An opened prepared data set; nothing but `meta.json` is read until it is asked for.

    Users, labels and splits are read from flat arrays, of a folder that has none or with `tables` from its tables.
    """

    def __init__(self, path: Path, *, tables: bool = False) -> None:
        self.path = Path(path)
        self.meta: dict[str, Any] = read_json(self.path / "meta.json")
        found = self.meta.get("format") if isinstance(self.meta, dict) else None
        if found != FORMAT:
            raise DataError(
                f"{self.path} has format {found}, this userrep reads {FORMAT}",
                "prepare it again: userrep preprocess --fresh",
            )
        self.name: str = self.meta["name"]
        self.hash: str = self.meta["hash"]
        self.tasks: list[str] = self.meta["tasks"]
        self.domains: list[str] = [domain["name"] for domain in self.meta["domains"]]
        self.main: str = self.domains[0]
        self.num_users: int = self.meta["users"]
        self._from_tables = tables or not Flat.written(self.path)
        self._sequences: dict[str, Sequences] = {}
        self._splits: dict[tuple[str, int, str | None], Split] = {}

    @cached_property
    def _people(self) -> "Flat | Tables":
        if not self._from_tables:
            return Flat(self.path)
        if not installed("polars"):
            raise DataError(
                f"{self.path} has its users and splits in tables alone, as an earlier userrep wrote it, and polars is "
                "not installed",
                "pip install polars, or prepare it again where it is installed, with userrep preprocess ... --fresh",
            )
        from userrep.sequences.tables import Tables

        return Tables(self.path)

    @cached_property
    def user_ids(self) -> list[str]:
        """Raw ids (U,) in row order."""
        return self._people.ids()

    def sequences(self, domain: str | None = None) -> Sequences:
        """Map one domain's events into memory; the main domain's where none is named."""
        name = domain or self.main
        if name not in self._sequences:
            entry = self._entry(name, self.meta["domains"], "domain")
            folder = self.path / "domains" / name
            kept = {kind: load(folder / f"{kind}.npy") if entry.get(kind) else None for kind in OPTIONAL}
            items, offsets = load(folder / "items.npy"), np.array(load(folder / "offsets.npy"))
            size = RESERVED + entry["items"]
            self._sequences[name] = Sequences(items, offsets, vocab_size=size, folder=folder, **kept)
        return self._sequences[name]

    def merged(self, source: str, target: str) -> Sequences:
        """Return the events of two domains as one history a user; ids of the target's items follow the source's.

        Raises:
            DataError: the data set does not say which events of the two came first.
        """
        name = f"{source}+{target}"  # no domain has such a name
        if name not in self._sequences:
            first, second = self.ordered(source, target)
            self._sequences[name] = merge(first, second, self.path / "domains" / name)
        return self._sequences[name]

    def ordered(self, *domains: str) -> list[Sequences]:
        """Return domains whose events are in one order.

        Raises:
            DataError: the data set does not say which events of the domains came first.
        """
        found = [self.sequences(name) for name in domains]
        if any(sequences.order is None for sequences in found):
            timed = {self._entry(name, self.meta["domains"], "domain")["times"] for name in domains}
            if len(timed) > 1:
                raise DataError(
                    f"of {' and '.join(domains)}, one has times and one has none: nothing says which event came first",
                    "give the events of both domains times, or neither",
                )
            command = _commands(self.path.parent.parent, self.meta["dataset"])
            raise DataError(
                f"{self.path} does not hold the order of events across its domains: an earlier userrep prepared it",
                f"prepare it again: {command} --fresh",
            )
        return found

    def classes(self, name: str) -> list[str]:
        """List the classes of a label, sorted; code k means `classes[k]`."""
        return list(self._entry(name, self.meta["labels"], "label")["classes"])

    def labels(self, name: str) -> np.ndarray:
        """Return each user's class code, (U,) int64, -1 where unknown."""
        classes, names = self.classes(name), [entry["name"] for entry in self.meta["labels"]]
        return self._people.labels(name, names.index(name), classes)

    def split(self, name: str, fold: int = 0, domain: str | None = None) -> Split:
        """Return one fold of a split, its event counts those of `domain` (the main one where none is named).

        Raises:
            DataError: there is no such split, fold or domain; the hint lists what there is.
        """
        where = domain or self.main
        if (name, fold, where) not in self._splits:
            self._splits[name, fold, where] = self._read_split(name, fold, where)
        return self._splits[name, fold, where]

    def forget(self) -> None:
        """Drop the splits that were read: of millions of users each takes as much memory as their events."""
        self._splits.clear()

    def texts(self) -> Iterator[Sequence[str]]:
        """Yield the raw ids of some users at a time, in row order."""
        return self._people.texts()

    def runs(self, name: str, fold: int, domain: str | None) -> "Iterator[Runs]":
        """Yield the runs of one fold in order of user and position; no domain: the users are divided.

        They are the table's, so that this is for a store that is read from its tables.
        """
        from userrep.sequences.tables import Tables

        assert isinstance(self._people, Tables)
        return self._people.runs(name, fold, domain, np.diff(self.sequences(domain).offsets))

    def _read_split(self, name: str, fold: int, domain: str) -> Split:
        entry = self._entry(name, self.meta["splits"], "split")
        if not 0 <= fold < entry["folds"]:
            raise DataError(f"split {name!r} has no fold {fold}", f"choose one of 0 to {entry['folds'] - 1}")
        counts = np.diff(self.sequences(domain).offsets)
        where = None if entry["kind"] == "users" else domain
        split = replace(self._people.split(name, fold, where, counts), hash=entry["hash"])
        return replace(split, train_end=counts, valid_end=counts) if where is None else split

    def _entry(self, name: str, entries: Sequence[Mapping[str, Any]], what: str) -> Mapping[str, Any]:
        known = {entry["name"]: entry for entry in entries}
        if name not in known:
            raise DataError(f"{self.name} has no {what} {name!r}", suggest(name, known))
        return known[name]

"""Preparing events that do not fit into memory: divided by user on disk, put in order share by share, joined again.

What a killed run finished is kept in a folder of its own, and the next run goes on from there.
"""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from userrep import console, progress
from userrep.datasets.dataset import Events, PartwiseDataset, refuse_unknown_main
from userrep.datasets.faults import Tally
from userrep.files import digest, read_json, write_json
from userrep.sequences.build import Built, Domain, Dropped, refuse_nothing
from userrep.sequences.common_items import keep_dense, number_items
from userrep.sequences.gather import Joining, Roster, write_domains
from userrep.sequences.scatter import records, refuse_partial_times, scatter
from userrep.sequences.schema import checked_users, no_events, refuse_strangers
from userrep.sequences.share import Share, sort_share
from userrep.sequences.workers import Here, Workers
from userrep.sequences.write import fingerprint

WORK = 2  # raised whenever what lies in the folder of work changes its meaning


@dataclass(frozen=True)
class Sizes:
    """How much is in memory at a time: bytes of text that are parsed, shares of the users, events that are joined."""

    block: int
    shares: int
    events: int

    @classmethod
    def of(cls, raw_bytes: int, memory: int) -> "Sizes":
        """Choose sizes for raw files of so many bytes, unpacked, and a budget of memory in bytes."""
        rows = raw_bytes / SHORT_ROW
        return cls(
            block=_between(1 << 18, memory // 64, 1 << 26),
            shares=_between(1, int(np.ceil(rows * SORTING / (memory / 4))), 4096),
            events=_between(1 << 14, memory // (16 * JOINING), 1 << 21),
        )


SHORT_ROW = 20  # bytes of text
SORTING = 300  # bytes of memory an event while its share is put in order
JOINING = 200  # while shares are joined


def _between(least: int, value: int, most: int) -> int:
    return max(least, min(value, most))


def stream(
    dataset: PartwiseDataset,
    node: Mapping[str, Any],
    raw_dir: Path,
    work: Path,
    target: Path,
    sizes: Sizes,
    workers: Workers | None = None,
) -> Built:
    """Build the arrays of a data set below the folder `target`, using a folder `work` that may hold finished pieces.

    The outcome is that of `assemble`, its arrays on disk and mapped into memory.

    Raises:
        DataError: the events are malformed, or the filters leave none.
    """
    users, item_text = dataset.sides(raw_dir)
    labelled = checked_users(Events(pl.LazyFrame(), users, item_text), dataset.labels, dataset.name)
    files, engine = dataset.event_files(raw_dir), workers or Here()
    _open(work, node, files, sizes)
    parts = _scattered(dataset, files, work / "parts", sizes, engine)
    domains, timed = _domains(dataset, parts)
    shares = _sorted(dataset, parts, work, domains, sizes, engine)
    merged = sum(share.record["events"] for share in shares)
    met = sum(share.record["users"] for share in shares)
    with progress.working("numbering items"):
        item_ids = number_items(shares)
        if max(dataset.min_user_events, dataset.min_item_events) > 1:
            limits = (dataset.min_user_events, dataset.min_item_events)
            shares = keep_dense(shares, len(item_ids), len(domains), *limits)
    kept = sum(share.record["events"] for share in shares)
    refuse_nothing(kept, dataset.name)
    roster = Roster.of(shares)
    placed = len(domains) > 1 and len({some for some, _ in timed.values()}) == 1
    shuffle = np.random.default_rng(dataset.ties_seed) if dataset.ties == "random" else None
    with progress.working("joining the shares", kept, "events") as bar:
        how = Joining(domains, item_ids, placed, shuffle, sizes.events)
        built = write_domains(target, shares, roster, how, bar.advance)
    refuse_strangers(labelled, roster.names, dataset.name)
    table = roster.names.to_frame("user").join(labelled, on="user", how="left", maintain_order="left")
    dropped = Dropped(
        duplicates=sum(part["rows"] for part in parts) - merged,
        users=met - len(table),
        items=len(item_ids) - _different_items(built),
        events=merged - kept,
    )
    return Built(table, built, item_text, dropped)


def _open(work: Path, node: Mapping[str, Any], files: list[Path], sizes: Sizes) -> None:
    """Make the folder of work anew, unless it is of these raw files, this config, these sizes and this polars."""
    source = {"node": node, "files": fingerprint(files), "sizes": asdict(sizes)}
    key = digest({"format": WORK, "polars": pl.__version__, **source})
    if (work / "key.json").exists() and read_json(work / "key.json") == key:
        console.note(f"going on with what is finished in {work}")
        return
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    write_json(work / "key.json", key)


def _scattered(
    dataset: PartwiseDataset, files: list[Path], folder: Path, sizes: Sizes, workers: Workers
) -> list[dict[str, Any]]:
    """Divide the events of all files, and return the records of their parts in order of the events."""
    dataset.left_out = 0
    with progress.working("reading events", unit="events") as bar:
        tell = bar.advance if workers.here else _silent
        work = [
            partial(scatter, dataset, path, number, folder, sizes.block, sizes.shares, tell)
            for number, path in enumerate(files)
        ]
        for _ in workers.run(work):
            pass
    found = []
    for number, path in enumerate(files):
        parts = list(records(folder, number))
        tally = Tally(path)
        for part in parts:
            tally.unit = part["unit"]
            shown = [(line, fault) for line, fault in part["shown"]]
            tally.merge(Tally(path, part["unit"], part["kept"], part["broken"], shown))
        tally.settle(skip=dataset.skip_bad)
        dataset.left_out += tally.broken
        found += parts
    return found


def _silent(amount: float) -> None:
    """Tell nothing: another machine cannot move the bar of this one."""


def _domains(dataset: PartwiseDataset, parts: list[dict[str, Any]]) -> tuple[list[str], dict[str, list[bool]]]:
    """Return the domains in order of their first event, the main one first; whether any, or not all, have times."""
    timed: dict[str, list[bool]] = {}
    named: dict[str, str] = {}
    for part in parts:
        named |= dict(part["named"])
        for domain in part["domains"]:
            known, new = timed.setdefault(domain, [False, False]), part["timed"][domain]
            timed[domain] = [known[0] or new[0], known[1] or new[1]]
    dataset.refuse_domains(named)
    if not timed:
        raise no_events(dataset.name)
    refuse_partial_times(timed, dataset.name)
    domains = list(timed)
    if dataset.main is not None:
        refuse_unknown_main(dataset.main, domains)
        domains.sort(key=lambda domain: domain != dataset.main)
    return domains, timed


def _sorted(
    dataset: PartwiseDataset,
    parts: list[dict[str, Any]],
    work: Path,
    domains: list[str],
    sizes: Sizes,
    workers: Workers,
) -> list[Share]:
    """Put every share in order, and return those that hold events."""
    paths = [part["path"] for part in parts]
    folders = [work / "shares" / f"{code:05d}" for code in range(sizes.shares)]
    with progress.working("sorting by user", sizes.shares, "shares") as bar:
        pieces = [
            partial(sort_share, paths, code, folder, domains, dataset.repeats) for code, folder in enumerate(folders)
        ]
        for _ in workers.run(pieces):
            bar.advance()
    return [share for share in map(Share, folders) if share.record["events"]]


def _different_items(domains: list[Domain]) -> int:
    items = [pl.Series(domain.vocabulary.item_ids, dtype=pl.String) for domain in domains]
    return pl.concat(items).n_unique()

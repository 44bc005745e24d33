"""The leak audit: what must hold of a prepared data set before anyone trains on it, checked on disk."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl

from userrep import console
from userrep.errors import DataError
from userrep.files import read_json, write_json
from userrep.sequences.split import TEST, Split
from userrep.sequences.store import Prepared, Sequences
from userrep.sequences.vocab import RESERVED, before_last_two

_PARTS = ("train_end", "valid_end", "user_role")  # of a split


@dataclass(frozen=True)
class Finding:
    """One thing that was checked: `where` (split, domain), whether it holds, and what was counted."""

    check: str
    where: str
    ok: bool
    detail: str


def audit(prepared: Prepared) -> list[Finding]:
    """Check a prepared data set, all its domains and all its splits, as its tables hold them; its arrays must agree."""
    arrays, prepared = prepared, Prepared(prepared.path, tables=True)
    findings = [_agreeing(prepared, arrays)]
    for domain in prepared.domains:
        sequences = prepared.sequences(domain)
        findings += [_ordered(sequences, domain), _vocabulary(sequences, domain), _merged(sequences, domain)]
    if all(prepared.sequences(domain).order is not None for domain in prepared.domains):
        findings.append(_one_order(prepared))
    for entry in prepared.meta["splits"]:
        findings += list(_split_findings(prepared, entry))
    return findings


def enforce(findings: list[Finding], name: str) -> None:
    """Raise DataError for the first finding that does not hold."""
    for finding in findings:
        if not finding.ok:
            raise DataError(
                f"the leak audit of {name} failed: {finding.check} ({finding.where}: {finding.detail})",
                "correct the raw file or the imported split",
            )


def show_audit(findings: list[Finding]) -> None:
    """Print the findings."""
    rows = [(finding.check, finding.where, finding.detail, finding.ok) for finding in findings]
    console.table("Leak audit", ["check", "where", "detail", "holds"], rows)


def write_audit(folder: Path, findings: list[Finding]) -> None:
    """Save the findings as audit.json."""
    write_json(folder / "audit.json", [asdict(finding) for finding in findings])


def read_audit(folder: Path) -> list[Finding]:
    """Read the findings saved in a prepared folder."""
    return [Finding(**finding) for finding in read_json(folder / "audit.json")]


def _agreeing(tables: Prepared, arrays: Prepared) -> Finding:
    """Whoever reads the tables and whoever trains have the same users, labels and splits."""
    checked, unlike = 1, int(tables.user_ids != arrays.user_ids)
    for label in tables.meta["labels"]:
        checked += 1
        unlike += not np.array_equal(tables.labels(label["name"]), arrays.labels(label["name"]))
    for entry in tables.meta["splits"]:
        domains = tables.domains if entry["kind"] == "events" else [tables.main]
        for fold, domain in product(range(entry["folds"]), domains):
            one, other = (data.split(entry["name"], fold, domain) for data in (tables, arrays))
            checked += 1
            unlike += not all(np.array_equal(getattr(one, part), getattr(other, part)) for part in _PARTS)
    detail = f"{unlike} of {checked} arrays differ"
    return Finding("training reads what the tables hold", "users, labels, splits", unlike == 0, detail)


def _ordered(sequences: Sequences, domain: str) -> Finding:
    """No event of a history is later than the event it predicts."""
    late = 0 if sequences.times is None else int(np.sum(np.diff(sequences.times)[_same_user(sequences)] < 0))
    detail = "no times: the order of the file" if sequences.times is None else f"{late} events out of order"
    return Finding("no event is later than a target it is the history of", domain, late == 0, detail)


def _one_order(prepared: Prepared) -> Finding:
    """The places of a user's events over all domains are 0, 1, 2, ..., and times follow them."""
    parts = [prepared.sequences(domain) for domain in prepared.domains]
    owners = np.concatenate([part.owners() for part in parts])
    places = np.concatenate([np.asarray(part.order) for part in parts])
    apart = np.lexsort((places, owners))
    counts = np.bincount(owners, minlength=prepared.num_users)
    due = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
    wrong = int(np.sum(places[apart] != due))
    wrong += sum(int(np.sum(np.diff(part.order)[_same_user(part)] <= 0)) for part in parts if part.order is not None)
    if all(part.times is not None for part in parts):
        times = np.concatenate([np.asarray(part.times) for part in parts])[apart]
        wrong += int(np.sum((np.diff(times) < 0) & (np.diff(owners[apart]) == 0)))
    where = " and ".join(prepared.domains)
    return Finding("no event of a domain is later than a target of another", where, wrong == 0, f"{wrong} out of order")


def _same_user(sequences: Sequences) -> np.ndarray:
    """Mark the neighbouring pairs (E-1,) of events that belong to one user."""
    within = np.ones(max(0, len(sequences.items) - 1), dtype=bool)
    starts = sequences.offsets[1:-1]
    within[starts[(starts > 0) & (starts < len(sequences.items))] - 1] = False
    return within


def _vocabulary(sequences: Sequences, domain: str) -> Finding:
    """The order of the ids comes from events before each user's last two, and from nothing else."""
    training = np.asarray(sequences.items)[before_last_two(sequences.offsets)] - RESERVED
    counts = np.bincount(training, minlength=sequences.vocab_size - RESERVED)
    fits = bool(np.array_equal(counts, sequences.counts) and np.all(np.diff(counts) <= 0))
    return Finding("the vocabulary is ordered by training events only", domain, fits, f"{len(counts)} items")


def _merged(sequences: Sequences, domain: str) -> Finding:
    """No event is there twice, so that none can be in training and in test."""
    if sequences.times is None:
        return Finding("no event is there twice", domain, True, "no times: a repeat is an event of its own")
    rows = np.repeat(np.arange(len(sequences.offsets) - 1), np.diff(sequences.offsets))
    events = pl.DataFrame({"user": rows, "item": np.asarray(sequences.items), "time": np.asarray(sequences.times)})
    copies = len(events) - events.select(pl.struct(pl.all()).n_unique()).item()
    return Finding("no event is there twice", domain, copies == 0, f"{copies} copies")


def _split_findings(prepared: Prepared, entry: dict) -> Iterator[Finding]:
    name, kind = entry["name"], entry["kind"]
    runs = pl.read_parquet(prepared.path / "splits.parquet").filter(split=name)
    twice = int(runs.select("fold", "domain", "user", "position").is_duplicated().sum())
    yield Finding("no event has two roles", name, twice == 0, f"{twice} runs begin together")
    if kind == "users":
        yield from _user_findings(prepared, runs, name)
        return
    for fold in range(entry["folds"]):
        for domain in prepared.domains:
            if runs.filter(pl.col("fold") == fold, pl.col("domain") == domain).is_empty():
                continue
            split, sequences = prepared.split(name, fold, domain), prepared.sequences(domain)
            yield from _event_findings(split, sequences, f"{name}, {domain}")


def _user_findings(prepared: Prepared, runs: pl.DataFrame, name: str) -> Iterator[Finding]:
    roles = runs.group_by("fold", "user").agg(pl.col("role").n_unique())["role"]
    torn = int((roles > 1).sum())
    yield Finding("test users are no training users", name, torn == 0, f"{torn} users with two roles")
    tested = runs.filter(role="test").group_by("user").len()["len"]
    again = int((tested > 1).sum())
    folds = runs["fold"].n_unique()
    complete = folds == 1 or (again == 0 and len(tested) == prepared.num_users)
    detail = f"{len(tested)} of {prepared.num_users} users tested over {folds} folds, {again} more than once"
    yield Finding("over the folds no user is tested twice", name, complete, detail)


def _event_findings(split: Split, sequences: Sequences, where: str) -> Iterator[Finding]:
    counts = np.diff(sequences.offsets)
    ends = (split.train_end >= 0) & (split.train_end <= split.valid_end) & (split.valid_end <= counts)
    bad = int(np.sum(~ends))
    yield Finding("training ends before validation, validation before test", where, bad == 0, f"{bad} users differ")
    check = _RULES.get(split.name)
    if check is not None and bad == 0:
        yield check(split, sequences, where)


def _last_two(split: Split, sequences: Sequences, where: str) -> Finding:
    counts = np.diff(sequences.offsets)
    seen = int(np.sum((counts >= 3) & (split.train_end > counts - 2)))
    return Finding("training holds no user's last two events", where, seen == 0, f"{seen} users trained on too much")


def _whole_times(split: Split, sequences: Sequences, where: str) -> Finding:
    """A cut of the chain never parts events of one time."""
    if sequences.times is None:
        return Finding("no cut parts events of one time", where, True, "no times")
    counts, parted = np.diff(sequences.offsets), 0
    for end in (split.train_end, split.valid_end):
        at = (sequences.offsets[:-1] + end)[(end > 0) & (end < counts)]
        parted += int(np.sum(sequences.times[at] == sequences.times[at - 1]))
    return Finding("no cut parts events of one time", where, parted == 0, f"{parted} cuts do")


def _global_cut(split: Split, sequences: Sequences, where: str) -> Finding:
    """All training events of all users are earlier than all others."""
    assert sequences.times is not None  # without times there is no such split
    position = np.arange(len(sequences.items)) - np.repeat(sequences.offsets[:-1], np.diff(sequences.offsets))
    spread = [np.repeat(end, np.diff(sequences.offsets)) for end in (split.train_end, split.valid_end)]
    part = (position >= spread[0]).astype(int) + (position >= spread[1])
    edges = [(sequences.times[part == role].min(), sequences.times[part == role].max()) for role in range(TEST + 1)]
    apart = edges[0][1] < edges[1][0] and edges[1][1] < edges[2][0]
    return Finding(
        "nothing after the cut is trained on", where, bool(apart), f"cuts at {edges[1][0]} and {edges[2][0]}"
    )


_RULES: dict[str, Callable[[Split, Sequences, str], Finding]] = {
    "leave_one_out": _last_two,
    "chain": _whole_times,
    "time": _global_cut,
}

"""The leak audit: what must hold of a prepared data set before anyone trains on it, checked on disk."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product, zip_longest
from pathlib import Path

import numpy as np
import polars as pl

from userrep import console
from userrep.errors import DataError
from userrep.files import read_json, write_json
from userrep.sequences.pieces import user_ranges
from userrep.sequences.runs import Repeats, from_runs
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


def _alike(one: Iterator[Sequence[str]], other: Iterator[Sequence[str]]) -> bool:
    return all(list(mine) == list(theirs) for mine, theirs in zip_longest(one, other, fillvalue=()))


def _agreeing(tables: Prepared, arrays: Prepared) -> Finding:
    """Whoever reads the tables and whoever trains have the same users, labels and splits."""
    checked, unlike = 1, int(not _alike(tables.texts(), arrays.texts()))
    for label in tables.meta["labels"]:
        checked += 1
        unlike += not np.array_equal(tables.labels(label["name"]), arrays.labels(label["name"]))
    for entry in tables.meta["splits"]:
        domains = tables.domains if entry["kind"] == "events" else [tables.main]
        for fold, domain in product(range(entry["folds"]), domains):
            one, other = (data.split(entry["name"], fold, domain) for data in (tables, arrays))
            checked += 1
            unlike += not all(np.array_equal(getattr(one, part), getattr(other, part)) for part in _PARTS)
            tables.forget()
            arrays.forget()
    detail = f"{unlike} of {checked} arrays differ"
    return Finding("training reads what the tables hold", "users, labels, splits", unlike == 0, detail)


def _ordered(sequences: Sequences, domain: str) -> Finding:
    """No event of a history is later than the event it predicts."""
    late = 0 if sequences.times is None else sum(map(_late, sequences.by_users()))
    detail = "no times: the order of the file" if sequences.times is None else f"{late} events out of order"
    return Finding("no event is later than a target it is the history of", domain, late == 0, detail)


def _late(sequences: Sequences) -> int:
    assert sequences.times is not None
    return int(np.sum(np.diff(sequences.times)[_same_user(sequences)] < 0))


def _one_order(prepared: Prepared) -> Finding:
    """The places of a user's events over all domains are 0, 1, 2, ..., and times follow them."""
    parts = [prepared.sequences(domain) for domain in prepared.domains]
    ranges = user_ranges(np.sum([part.offsets for part in parts], axis=0))
    wrong = sum(_out_of_order([part.between(*users) for part in parts]) for users in ranges)
    where = " and ".join(prepared.domains)
    return Finding("no event of a domain is later than a target of another", where, wrong == 0, f"{wrong} out of order")


def _out_of_order(parts: list[Sequences]) -> int:
    owners = np.concatenate([part.owners() for part in parts])
    places = np.concatenate([np.asarray(part.order) for part in parts])
    apart = np.lexsort((places, owners))
    counts = np.bincount(owners, minlength=len(parts[0].offsets) - 1)
    due = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
    wrong = int(np.sum(places[apart] != due))
    wrong += sum(int(np.sum(np.diff(part.order)[_same_user(part)] <= 0)) for part in parts if part.order is not None)
    if all(part.times is not None for part in parts):
        times = np.concatenate([np.asarray(part.times) for part in parts])[apart]
        wrong += int(np.sum((np.diff(times) < 0) & (np.diff(owners[apart]) == 0)))
    return wrong


def _same_user(sequences: Sequences) -> np.ndarray:
    """Mark the neighbouring pairs (E-1,) of events that belong to one user."""
    within = np.ones(max(0, len(sequences.items) - 1), dtype=bool)
    starts = sequences.offsets[1:-1]
    within[starts[(starts > 0) & (starts < len(sequences.items))] - 1] = False
    return within


def _vocabulary(sequences: Sequences, domain: str) -> Finding:
    """The order of the ids comes from events before each user's last two, and from nothing else."""
    counts = np.zeros(sequences.vocab_size - RESERVED, dtype=np.int64)
    for part in sequences.by_users():
        counts += np.bincount(part.items[before_last_two(part.offsets)] - RESERVED, minlength=len(counts))
    fits = bool(np.array_equal(counts, sequences.counts) and np.all(np.diff(counts) <= 0))
    return Finding("the vocabulary is ordered without its users' last two events", domain, fits, f"{len(counts)} items")


def _merged(sequences: Sequences, domain: str) -> Finding:
    """No event is there twice, so that none can be in training and in test."""
    if sequences.times is None:
        return Finding("no event is there twice", domain, True, "no times: a repeat is an event of its own")
    copies = sum(map(_copies, sequences.by_users()))
    return Finding("no event is there twice", domain, copies == 0, f"{copies} copies")


def _copies(sequences: Sequences) -> int:
    """Count the copies of events; where times are in order, only among events of one time can there be any."""
    assert sequences.times is not None
    owners, near = sequences.owners(), slice(None)
    if _late(sequences) == 0:
        tied = (np.diff(sequences.times) == 0) & _same_user(sequences)
        near = np.flatnonzero(np.append(False, tied) | np.append(tied, False))  # type: ignore[assignment]
    events = pl.DataFrame({"user": owners[near], "item": sequences.items[near], "time": sequences.times[near]})
    return len(events) - int(events.select(pl.struct(pl.all()).n_unique()).item()) if len(events) else 0


def _split_findings(prepared: Prepared, entry: dict) -> Iterator[Finding]:
    name = entry["name"]
    if entry["kind"] == "users":
        yield from _user_findings(prepared, entry)
        return
    found: list[tuple[Split, Repeats]] = []
    for fold in range(entry["folds"]):
        for domain in prepared.domains:
            repeats, counts = Repeats(), np.diff(prepared.sequences(domain).offsets)
            runs = repeats.watch(prepared.runs(name, fold, domain))
            found.append((from_runs(name, fold, domain, runs, counts), repeats))
    yield _no_two_roles(name, [repeats for _, repeats in found])
    for split, repeats in found:
        if repeats.seen:
            assert split.domain is not None
            yield from _event_findings(split, prepared.sequences(split.domain), f"{name}, {split.domain}")


def _no_two_roles(name: str, repeats: list[Repeats]) -> Finding:
    twice = sum(repeat.runs for repeat in repeats)
    return Finding("no event has two roles", name, twice == 0, f"{twice} runs begin together")


def _user_findings(prepared: Prepared, entry: dict) -> Iterator[Finding]:
    name, folds = entry["name"], entry["folds"]
    repeats = [Repeats() for _ in range(folds)]
    times = np.zeros(prepared.num_users, dtype=np.int64)  # that each user is tested
    for fold, repeat in enumerate(repeats):
        for batch in repeat.watch(prepared.runs(name, fold, None)):
            times += np.bincount(batch.rows[batch.roles == TEST], minlength=len(times))
    yield _no_two_roles(name, repeats)
    torn = sum(repeat.users for repeat in repeats)
    yield Finding("test users are no training users", name, torn == 0, f"{torn} users with two roles")
    tested, again = int(np.sum(times > 0)), int(np.sum(times > 1))
    complete = folds == 1 or (again == 0 and tested == prepared.num_users)
    detail = f"{tested} of {prepared.num_users} users tested over {folds} folds, {again} more than once"
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
    parted = 0
    for begin, end in user_ranges(sequences.offsets):
        part = sequences.between(begin, end)
        assert part.times is not None
        counts = np.diff(part.offsets)
        for cuts in (split.train_end[begin:end], split.valid_end[begin:end]):
            at = (part.offsets[:-1] + cuts)[(cuts > 0) & (cuts < counts)]
            parted += int(np.sum(part.times[at] == part.times[at - 1]))
    return Finding("no cut parts events of one time", where, parted == 0, f"{parted} cuts do")


def _global_cut(split: Split, sequences: Sequences, where: str) -> Finding:
    """All training events of all users are earlier than all others."""
    edges: list[list[int]] = [[], [], []]  # the first and last times of each role, of some users after the other
    for begin, end in user_ranges(sequences.offsets):
        part = sequences.between(begin, end)
        assert part.times is not None  # without times there is no such split
        counts = np.diff(part.offsets)
        position = np.arange(len(part.items)) - np.repeat(part.offsets[:-1], counts)
        spread = [np.repeat(ends[begin:end], counts) for ends in (split.train_end, split.valid_end)]
        role = (position >= spread[0]).astype(int) + (position >= spread[1])
        for number, known in enumerate(edges):
            found = part.times[role == number]
            known += [int(found.min()), int(found.max())] if len(found) else []
    first, last = [min(known) for known in edges], [max(known) for known in edges]
    apart = last[0] < first[1] and last[1] < first[2]
    return Finding("nothing after the cut is trained on", where, apart, f"cuts at {first[1]} and {first[2]}")


_RULES: dict[str, Callable[[Split, Sequences, str], Finding]] = {
    "leave_one_out": _last_two,
    "chain": _whole_times,
    "time": _global_cut,
}

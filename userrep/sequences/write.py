"""A prepared folder written whole or not at all."""

import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from userrep.files import explaining_write_errors
from userrep.sequences.build import Built, Domain
from userrep.sequences.split import Split
from userrep.sequences.splits import to_runs


@contextmanager
def publishing(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target` that takes its place on success, and vanishes on failure."""
    with explaining_write_errors(target), _alone(target):
        for leftover in target.parent.glob(f".{target.name}.*.tmp"):  # of a killed process: we are alone
            shutil.rmtree(leftover, ignore_errors=True)
        folder = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
        folder.mkdir(parents=True)
        try:
            yield folder
            _flush(folder)
            _swap(folder, target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _flush(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _swap(folder: Path, target: Path) -> None:
    if target.exists():
        old = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
        os.rename(target, old)
        os.rename(folder, target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.rename(folder, target)


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Wait until no other process writes `target`, and keep others waiting."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target.parent / f".{target.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def content_hash(built: Built) -> str:
    """Hash what a model can see: users, labels, vocabularies and arrays; no split, text or date."""
    state = hashlib.sha256()
    for column in built.users.columns:
        _absorb(state, column, "\n".join(value or "\0" for value in built.users[column].to_list()).encode())
    for domain in built.domains:
        _absorb(state, f"items of {domain.name}", "\n".join(domain.vocabulary.item_ids).encode())
        for kind, values in arrays(domain).items():
            _absorb(state, f"{kind} of {domain.name}", values.tobytes())
    return state.hexdigest()


def _absorb(state: Any, name: str, content: bytes) -> None:
    state.update(f"|{name}|{len(content)}|".encode())
    state.update(content)


def arrays(domain: Domain) -> dict[str, np.ndarray]:
    """Return the arrays of a domain as they are stored, little-endian, by file stem."""
    stored = {"items": (domain.items, "<i4"), "offsets": (domain.offsets, "<i8")}
    if domain.times is not None:
        stored["times"] = (domain.times, "<i8")
    if domain.ratings is not None:
        stored["ratings"] = (domain.ratings, "<f4")
    if domain.order is not None:
        stored["order"] = (domain.order, "<i4")
    return {kind: np.ascontiguousarray(values, dtype=dtype) for kind, (values, dtype) in stored.items()}


def write_arrays(folder: Path, built: Built, splits: list[Split]) -> None:
    """Write everything but `meta.json` and the card."""
    built.users.with_columns(row=pl.int_range(pl.len())).select("row", pl.exclude("row")).write_parquet(
        folder / "users.parquet"
    )
    timelines = {domain.name: (domain.offsets, domain.times) for domain in built.domains}
    to_runs(splits, built.users["user"].to_list(), timelines).write_parquet(
        folder / "splits.parquet", row_group_size=1 << 18
    )
    texts = dict(built.item_text.select("item", "text").iter_rows())
    for domain in built.domains:
        place = folder / "domains" / domain.name
        place.mkdir(parents=True)
        for kind, values in arrays(domain).items():
            np.save(place / f"{kind}.npy", values)
        _item_table(domain, texts).write_parquet(place / "items.parquet")


def _item_table(domain: Domain, texts: Mapping[str, str]) -> pl.DataFrame:
    ids = domain.vocabulary.item_ids
    text = pl.Series("text", [texts.get(item) for item in ids], dtype=pl.String)
    return pl.DataFrame({"item": pl.Series(ids, dtype=pl.String), "count": domain.vocabulary.counts, "text": text})


def class_list(values: pl.Series) -> list[str]:
    """Sort the classes of a label: as numbers where all are whole numbers, else as text."""
    known = values.drop_nulls().unique().to_list()
    whole = all(value.lstrip("-").isdecimal() for value in known)
    return sorted(known, key=lambda value: (int(value), value) if whole else (0, value))


def fingerprint(paths: list[Path]) -> list[list[Any]]:
    """Describe raw files by name, bytes and time of change, to notice when they are no longer the same."""
    found = [(path, path.stat()) for path in paths if path.exists()]
    return [[path.name, stat.st_size, stat.st_mtime_ns] for path, stat in found]

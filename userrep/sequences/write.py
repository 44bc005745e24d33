"""A prepared folder written whole or not at all."""

import fcntl
import hashlib
import os
import re
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
from userrep.sequences.pieces import pieces, texts_of
from userrep.sequences.split import Split
from userrep.sequences.splits import ROW_GROUP, write_runs


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
        _absorb_texts(state, column, built.users[column])
    for domain in built.domains:
        _absorb_texts(state, f"items of {domain.name}", pl.Series(domain.vocabulary.item_ids, dtype=pl.String))
        for kind, values in arrays(domain).items():
            state.update(_announced(f"{kind} of {domain.name}", values.nbytes))
            for some in pieces(values):
                state.update(some.data)
    return state.hexdigest()


def _absorb_texts(state: Any, name: str, values: pl.Series) -> None:
    """Hash texts, a line each, as one text; a missing one is a zero byte."""
    texts = values.fill_null("").replace("", "\0")
    state.update(_announced(name, int(texts.str.len_bytes().sum()) + max(0, len(texts) - 1)))
    for number, some in enumerate(texts_of(texts)):
        state.update(("\n" * bool(number) + "\n".join(some)).encode())


def _announced(name: str, length: int) -> bytes:
    return f"|{name}|{length}|".encode()


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


def write_arrays(folder: Path, built: Built) -> None:
    """Write the arrays of all domains."""
    for domain in built.domains:
        place = folder / "domains" / domain.name
        place.mkdir(parents=True)
        for kind, values in arrays(domain).items():
            np.save(place / f"{kind}.npy", values)


def write_tables(folder: Path, built: Built, splits: list[Split]) -> None:
    """Write the tables of users, items and splits beside the arrays."""
    users = built.users.with_columns(row=pl.int_range(pl.len())).select("row", pl.exclude("row"))
    users.rechunk().write_parquet(folder / "users.parquet", row_group_size=ROW_GROUP)
    offsets = {domain.name: domain.offsets for domain in built.domains}
    write_runs(folder / "splits.parquet", splits, built.users["user"], offsets)
    texts = dict(built.item_text.select("item", "text").iter_rows())
    for domain in built.domains:
        _item_table(domain, texts).write_parquet(folder / "domains" / domain.name / "items.parquet")


def _item_table(domain: Domain, texts: Mapping[str, str]) -> pl.DataFrame:
    ids = domain.vocabulary.item_ids
    text = pl.Series("text", [texts.get(item) for item in ids], dtype=pl.String)
    return pl.DataFrame({"item": pl.Series(ids, dtype=pl.String), "count": domain.vocabulary.counts, "text": text})


def class_list(values: pl.Series) -> list[str]:
    """Sort the classes of a label: as numbers where all are whole numbers, else as text."""
    known = values.drop_nulls().unique().to_list()
    whole = all(re.fullmatch(r"-?\d+", value) for value in known)
    return sorted(known, key=lambda value: (int(value), value) if whole else (0, value))


def fingerprint(paths: list[Path]) -> list[list[Any]]:
    """Describe raw files by name, bytes and time of change, to notice when they are no longer the same."""
    found = [(path, path.stat()) for path in paths if path.exists()]
    return [[path.name, stat.st_size, stat.st_mtime_ns] for path, stat in found]


def sizes_below(folder: Path) -> dict[str, int]:
    """Return the bytes of each file below a folder but `meta.json`, which holds them, by its path there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / "meta.json")
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}

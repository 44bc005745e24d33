"""Preparing: raw files in, a checked folder of arrays out."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from userrep.datasets.dataset import Dataset, PartwiseDataset
from userrep.errors import DataError
from userrep.files import explaining_write_errors, read_json, sha256_of, write_json
from userrep.sequences.audit import audit, enforce, write_audit
from userrep.sequences.build import Built, assemble
from userrep.sequences.card import make_card, write_card
from userrep.sequences.flat import write_flat
from userrep.sequences.imports import import_splits, join_splits
from userrep.sequences.split import Split
from userrep.sequences.splits import make_splits
from userrep.sequences.store import FORMAT, Prepared, half_copied
from userrep.sequences.stream import Sizes, stream
from userrep.sequences.workers import Workers
from userrep.sequences.write import (
    class_list,
    content_hash,
    fingerprint,
    publishing,
    sizes_below,
    write_arrays,
    write_tables,
)


def prepare(
    dataset: Dataset,
    dataset_node: Mapping[str, Any],
    raw_dir: Path,
    out_path: Path,
    split_file: Path | None = None,
) -> Prepared:
    """Prepare a data set into the folder `out_path`, which appears whole or not at all, and open it.

    `dataset_node` is the config the dataset was built from; `split_file` holds splits to take beside the
    built ones.

    Raises:
        DataError: raw files are missing or malformed, the split file does not fit, the leak audit fails, or
        the disk is full.
    """
    built = assemble(dataset.events(raw_dir), dataset)
    with publishing(out_path) as folder:
        write_arrays(folder, built)
        _complete(folder, built, Origin(dataset, dataset_node, raw_dir, split_file))
    return Prepared(out_path)


def prepare_streaming(
    dataset: PartwiseDataset,
    dataset_node: Mapping[str, Any],
    raw_dir: Path,
    out_path: Path,
    split_file: Path | None = None,
    *,
    sizes: Sizes,
    workers: Workers | None = None,
    fresh: bool = False,
) -> Prepared:
    """Do what `prepare` does, and write the same folder, with no more in memory than `sizes` says.

    What is finished lies beside `out_path` until the folder is whole, and a later call goes on from there, unless
    `fresh`.

    Raises:
        DataError: as prepare.
    """
    work = out_path.parent / f".{out_path.name}.work"
    # What is finished is another process's too, which waits until this one has published: remove it before.
    with publishing(out_path) as folder, _keeping(work), explaining_write_errors(out_path):
        if fresh:
            shutil.rmtree(work, ignore_errors=True)
        built = stream(dataset, dataset_node, raw_dir, work, folder, sizes, workers)
        _complete(folder, built, Origin(dataset, dataset_node, raw_dir, split_file))
        shutil.rmtree(work, ignore_errors=True)
    return Prepared(out_path)


@contextmanager
def _keeping(work: Path) -> Iterator[None]:
    """Keep what is finished where it can be gone on with, and say where it lies; remove it where the events are bad."""
    try:
        yield
    except DataError as error:
        if error.message.startswith("cannot write"):
            size = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
            error.hint += f"; what is finished stays in {work} ({size / 2**30:.1f} GiB) and is gone on with"
        else:
            shutil.rmtree(work, ignore_errors=True)
        raise


@dataclass(frozen=True)
class Origin:
    """What a folder is prepared from."""

    dataset: Dataset
    node: Mapping[str, Any]
    raw_dir: Path
    split_file: Path | None


def _complete(folder: Path, built: Built, origin: Origin) -> None:
    """Add splits, tables and `meta.json` to the arrays; then audit what was written, and add audit and card."""
    user_ids, split_file = built.users["user"], origin.split_file
    timelines = {domain.name: (domain.offsets, domain.times) for domain in built.domains}
    splits = make_splits(user_ids, timelines, origin.dataset.split_seed)
    if split_file is not None:
        splits = join_splits(splits, import_splits(split_file, user_ids, timelines), split_file)
    write_tables(folder, built, splits)
    meta = _meta(origin, built, splits)
    write_json(folder / "meta.json", meta)
    _flatten(Prepared(folder, tables=True), splits)
    write_json(folder / "meta.json", meta | {"files": sizes_below(folder)})
    prepared = Prepared(folder)
    findings = audit(prepared)
    enforce(findings, prepared.name)
    write_audit(folder, findings)
    write_card(folder, make_card(prepared))


def _flatten(written: Prepared, splits: list[Split]) -> None:
    """Add the arrays from which training reads what the tables hold."""
    labels = [written.labels(entry["name"]) for entry in written.meta["labels"]]
    counts = {domain: np.diff(written.sequences(domain).offsets) for domain in written.domains}
    write_flat(written.path, written.texts(), labels, splits, counts)


def is_current(path: Path, dataset: Dataset, raw_dir: Path, split_file: Path | None = None) -> bool:
    """Say whether `path` is whole, and prepared from the raw files as they are now, with this split file if any."""
    if not (path / "meta.json").exists():
        return False
    meta = read_json(path / "meta.json")
    same_files = meta.get("raw_files") == fingerprint(dataset.raw_files(raw_dir))
    same_splits = split_file is None or meta.get("split_file") == sha256_of(split_file)
    return bool(meta.get("format") == FORMAT and same_files and same_splits and not half_copied(path, meta))


def _meta(origin: Origin, built: Built, splits: list[Split]) -> dict[str, Any]:
    dataset, raw_dir, split_file = origin.dataset, origin.raw_dir, origin.split_file
    labels = [{"name": name, "classes": class_list(built.users[name])} for name in dataset.labels]
    return {
        "format": FORMAT,
        "name": dataset.name,
        "title": dataset.title,
        "hash": content_hash(built),
        "source": _source(raw_dir),
        "dataset": origin.node,
        "tasks": dataset.tasks,
        "users": len(built.users),
        "ties": dataset.ties if dataset.ties == "file" else f"random, seed {dataset.ties_seed}",
        "broken": dataset.left_out,
        "notes": [*dataset.counted, *dataset.notes],
        "duplicates": built.dropped.duplicates,
        "dropped": {
            "users": built.dropped.users,
            "items": built.dropped.items,
            "events": built.dropped.events,
        },
        "domains": [
            {
                "name": domain.name,
                "items": len(domain.vocabulary.item_ids),
                "events": len(domain.items),
                "times": domain.times is not None,
                "ratings": domain.ratings is not None,
                "order": domain.order is not None,
            }
            for domain in built.domains
        ],
        "labels": labels,
        "splits": _summary(splits),
        "raw_files": fingerprint(dataset.raw_files(raw_dir)),
        "split_file": sha256_of(split_file) if split_file else None,
    }


def _source(raw_dir: Path) -> str:
    record = raw_dir / "source.json"
    return str(read_json(record)["source"]) if record.exists() else "local"


def _summary(splits: list[Split]) -> list[dict[str, Any]]:
    """List each split once: name, kind, number of folds, hash."""
    found: dict[str, dict[str, Any]] = {}
    for split in splits:
        entry = {
            "name": split.name,
            "kind": "events" if split.domain else "users",
            "folds": 0,
            "hash": split.hash,
        }
        entry = found.setdefault(split.name, entry)
        entry["folds"] = max(entry["folds"], split.fold + 1)
    return list(found.values())

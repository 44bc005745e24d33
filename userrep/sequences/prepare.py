"""Preparing: raw files in, a checked folder of arrays out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from userrep.datasets.dataset import Dataset
from userrep.files import read_json, sha256_of, write_json
from userrep.sequences.audit import audit, enforce, write_audit
from userrep.sequences.build import Built, assemble
from userrep.sequences.card import make_card, write_card
from userrep.sequences.flat import write_flat
from userrep.sequences.imports import import_splits, join_splits
from userrep.sequences.split import Split
from userrep.sequences.splits import make_splits
from userrep.sequences.store import FORMAT, Prepared
from userrep.sequences.write import class_list, content_hash, fingerprint, publishing, write_arrays


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
    user_ids = built.users["user"].to_list()
    timelines = {domain.name: (domain.offsets, domain.times) for domain in built.domains}
    splits = make_splits(user_ids, timelines, dataset.split_seed)
    if split_file is not None:
        splits = join_splits(splits, import_splits(split_file, user_ids, timelines), split_file)
    with publishing(out_path) as folder:
        write_arrays(folder, built, splits)
        write_json(folder / "meta.json", _meta(dataset, dataset_node, raw_dir, built, splits, split_file))
        _flatten(Prepared(folder, tables=True), splits)
        _complete(Prepared(folder))
    return Prepared(out_path)


def _flatten(written: Prepared, splits: list[Split]) -> None:
    """Add the arrays from which training reads what the tables hold."""
    labels = [written.labels(entry["name"]) for entry in written.meta["labels"]]
    counts = {domain: np.diff(written.sequences(domain).offsets) for domain in written.domains}
    write_flat(written.path, written.user_ids, labels, splits, counts)


def _complete(prepared: Prepared) -> None:
    """Audit what was written, and add the audit and the card."""
    findings = audit(prepared)
    enforce(findings, prepared.name)
    write_audit(prepared.path, findings)
    write_card(prepared.path, make_card(prepared))


def is_current(path: Path, dataset: Dataset, raw_dir: Path, split_file: Path | None = None) -> bool:
    """Say whether `path` was prepared from the raw files as they are now, and with this split file if any."""
    if not (path / "meta.json").exists():
        return False
    meta = read_json(path / "meta.json")
    same_files = meta.get("raw_files") == fingerprint(dataset.raw_files(raw_dir))
    same_splits = split_file is None or meta.get("split_file") == sha256_of(split_file)
    return bool(meta.get("format") == FORMAT and same_files and same_splits)


def _meta(
    dataset: Dataset,
    node: Mapping[str, Any],
    raw_dir: Path,
    built: Built,
    splits: list[Split],
    split_file: Path | None,
) -> dict[str, Any]:
    labels = [{"name": name, "classes": class_list(built.users[name])} for name in dataset.labels]
    return {
        "format": FORMAT,
        "name": dataset.name,
        "title": dataset.title,
        "hash": content_hash(built),
        "source": _source(raw_dir),
        "dataset": node,
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

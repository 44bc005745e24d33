"""`userrep download NAME`: bring the raw files of a data set here from the first source that has them."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from userrep import console
from userrep.build import build
from userrep.config import compose
from userrep.datasets.archive import BadArchive
from userrep.datasets.dataset import Dataset
from userrep.datasets.fetch import Unavailable
from userrep.datasets.raw import install, intact, raw_path, recorded, to_type
from userrep.datasets.sources import recognise
from userrep.errors import DataError, UsageError
from userrep.stages.request import Request


def run(request: Request) -> dict[str, Any]:
    """Fetch, verify and unpack the data set of the request; do nothing where its files are here and whole.

    `extra`: from_file (an archive, a folder or files that are on this machine), accept_licence.

    Raises:
        UsageError: the licence has to be accepted first.
        DataError: no source could give the files, or they cannot be written.
    """
    node = compose("download", request.overrides, request.config_dir)["dataset"]
    dataset: Dataset = build(node, at="dataset")
    folder = raw_path(request.data_dir, dataset.name)
    local = _paths(request.extra.get("from_file"))
    if not dataset.sources:
        console.note(f"there is nothing to download for {dataset.name}: {dataset.origin}")
        return _answer(dataset, folder, {})
    if not (request.fresh or local) and (record := _here(dataset, folder)):
        console.note(f"{dataset.name} is already in {folder} (from {record['source']}, checksums hold)")
        return _answer(dataset, folder, record)
    _show_terms(dataset, accepted=bool(request.extra.get("accept_licence")))
    if request.dry_run:
        console.note(f"would try, in order: {', '.join(source.label for source in dataset.sources)}")
        return _answer(dataset, folder, {})
    earlier = recorded(folder)
    record = _take(dataset, local, folder) if local else _fetch(dataset, folder)
    _tell_of_checksum(record, earlier, dataset)
    console.note(f"{dataset.name} is in {folder} (from {record['source']})")
    typed = " ".join(shlex.quote(word) for word in request.overrides)
    console.note(f"next: {to_type(f'userrep preprocess {typed}', request.data_dir)}")
    return _answer(dataset, folder, record)


def _here(dataset: Dataset, folder: Path) -> dict[str, Any] | None:
    """Return the record of the files that are here and whole, if one of the data set's sources gave them."""
    record = intact(folder)
    return record if record and record["source"] in {source.label for source in dataset.sources} else None


def _tell_of_checksum(record: dict[str, Any], earlier: dict[str, Any] | None, dataset: Dataset) -> None:
    """Where no checksum is published, say what was recorded, or that it is not the one of the first time."""
    packed = record["archive"]
    source = next((source for source in dataset.sources if source.label == record["source"]), None)
    if packed["sha256"] is None or source is None or source.published:
        return
    before = ((earlier or {}).get("archive") or {}).get("sha256")
    if before and earlier and earlier.get("source") == record["source"] and before != packed["sha256"]:
        now = packed["sha256"][:12]
        console.warn(f"this is not the archive of the first time (sha256 {before[:12]}..., now {now}...)")
    else:
        console.note(f"no checksum is published; recorded: sha256 {packed['sha256']}, {packed['bytes']:,} bytes")


def _show_terms(dataset: Dataset, *, accepted: bool) -> None:
    console.note(f"{dataset.title or dataset.name}\n  licence: {dataset.licence}\n  please cite: {dataset.citation}")
    if dataset.accept and not accepted:
        raise UsageError(f"the licence of {dataset.name} must be accepted first", "read it, then add --accept-licence")


def _paths(given: Path | Sequence[Path] | None) -> list[Path]:
    return [Path(given)] if isinstance(given, (str, Path)) else [Path(path) for path in given or ()]


def _take(dataset: Dataset, paths: list[Path], folder: Path) -> dict[str, Any]:
    source, verified = recognise(paths, dataset.sources)
    if source.published and not verified:
        named = ", ".join(map(str, paths))
        console.warn(f"{named} has the files of {source.label} but not its checksum: make sure that you trust it")
    return install(paths, source, folder, verified=verified)


def _fetch(dataset: Dataset, folder: Path) -> dict[str, Any]:
    for source in dataset.sources:
        try:
            with source.fetched(folder) as archive:
                return install(archive, source, folder, verified=source.published)
        except (Unavailable, BadArchive) as error:
            console.warn(f"{source.label}: {error}{f'; {error.hint}' if error.hint else ''}")
    raise DataError(f"no source could give {dataset.name}", f"userrep download {dataset.name} --from-file ARCHIVE")


def _answer(dataset: Dataset, folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    files = record.get("files", {})
    return {
        "verb": "download",
        "run": None,
        "dataset": dataset.name,
        "source": record.get("source"),
        "layout": record.get("layout"),
        "files": files,
        "bytes": sum(file["bytes"] for file in files.values()),
        "path": str(folder),
    }

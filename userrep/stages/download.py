"""`userrep download NAME`: bring the raw files of a data set here from the first source that has them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from userrep import console
from userrep.build import build
from userrep.config import compose
from userrep.datasets.archive import BadArchive
from userrep.datasets.dataset import Dataset
from userrep.datasets.fetch import Unavailable
from userrep.datasets.raw import install, intact, raw_path, to_type
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
        console.note(f"{dataset.name} is generated: there is nothing to download")
        return _answer(dataset, folder, {})
    if not (request.fresh or local) and (record := intact(folder)):
        console.note(f"{dataset.name} is already in {folder} (from {record['source']}, checksums hold)")
        return _answer(dataset, folder, record)
    _show_terms(dataset, accepted=bool(request.extra.get("accept_licence")))
    if request.dry_run:
        console.note(f"would try, in order: {', '.join(source.label for source in dataset.sources)}")
        return _answer(dataset, folder, {})
    record = _take(dataset, local, folder) if local else _fetch(dataset, folder)
    console.note(f"{dataset.name} is in {folder} (from {record['source']})")
    console.note(f"next: {to_type(f'userrep preprocess dataset={dataset.name}', request.data_dir)}")
    return _answer(dataset, folder, record)


def _show_terms(dataset: Dataset, *, accepted: bool) -> None:
    console.note(
        f"{dataset.title or dataset.name}\n  licence: {dataset.licence}\n  please cite: {dataset.citation}"
    )
    if dataset.accept and not accepted:
        raise UsageError(
            f"the licence of {dataset.name} must be accepted first", "read it, then add --accept-licence"
        )


def _paths(given: Path | Sequence[Path] | None) -> list[Path]:
    return [Path(given)] if isinstance(given, (str, Path)) else [Path(path) for path in given or ()]


def _take(dataset: Dataset, paths: list[Path], folder: Path) -> dict[str, Any]:
    source, verified = recognise(paths, dataset.sources)
    if source.sha256 and not verified:
        named = ", ".join(map(str, paths))
        console.warn(f"{named} has the files of {source.label} but not its checksum: make sure that you trust it")
    return install(paths, source, folder, verified=verified)


def _fetch(dataset: Dataset, folder: Path) -> dict[str, Any]:
    for source in dataset.sources:
        try:
            with source.fetched(folder) as archive:
                return install(archive, source, folder, verified=True)
        except (Unavailable, BadArchive) as error:
            console.warn(f"{source.label}: {error}")
    raise DataError(
        f"no source could give {dataset.name}", f"userrep download {dataset.name} --from-file ARCHIVE"
    )


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

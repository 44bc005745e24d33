"""The folder that keeps the raw files of one data set, and the record of where they came from."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from userrep.datasets.archive import extract
from userrep.datasets.sources import Source
from userrep.errors import DataError
from userrep.files import read_json, sha256_of, write_json

RECORD = "source.json"


def raw_path(data_dir: Path, name: str) -> Path:
    """Return where the raw files of the data set `name` are kept."""
    return data_dir / "raw" / name


def to_type(command: str, data_dir: Path) -> str:
    """Return `command` as a user has to type it for data that are kept in `data_dir`."""
    return command if data_dir == Path("data") else f"{command} --data-dir {shlex.quote(str(data_dir))}"


def fetch_again(raw_dir: Path) -> str:
    """Return the command that replaces the raw files in `raw_dir`."""
    return to_type(f"userrep download {raw_dir.name} --fresh", raw_dir.parent.parent)


def layout_of(folder: Path) -> str:
    """Return the layout of the files in `folder`: "official" or "atomic".

    Raises:
        DataError: nothing was downloaded there, or a file has changed since.
    """
    record = intact(folder)
    if record is None:
        found = "a file was removed or changed" if (folder / RECORD).exists() else "there are no raw files"
        raise DataError(f"{found} in {folder}", to_type(f"userrep download {folder.name}", folder.parent.parent))
    return str(record["layout"])


def recorded(folder: Path) -> dict[str, Any] | None:
    """Return the record of `folder`, whatever became of its files; None where there is none that can be read."""
    try:
        record = read_json(folder / RECORD)
    except DataError:
        return None
    return record if isinstance(record, dict) else None


def intact(folder: Path) -> dict[str, Any] | None:
    """Return the record of `folder` where every file still has its recorded sha256, else None."""
    try:
        record: dict[str, Any] = read_json(folder / RECORD)
        whole = all(sha256_of(folder / name) == file["sha256"] for name, file in record["files"].items())
    except (DataError, KeyError, TypeError, AttributeError):
        return None
    return record if whole else None


def install(archive: Path | Sequence[Path], source: Source, folder: Path, *, verified: bool) -> dict[str, Any]:
    """Take the members of `source` out of `archive` (or files, or a folder) into `folder`.

    The record comes last and is returned; its sha256 is null where there was not one archive.

    Raises:
        BadArchive: it is damaged or hostile; what was replaced before no longer fits the old record.
        DataError: `folder` cannot be written.
    """
    paths = [archive] if isinstance(archive, Path) else list(archive)
    alone = paths[0] if len(paths) == 1 and paths[0].is_file() else None
    files = extract(paths, source.members, folder, source.unpacked_limit, source.extras)
    packed = {
        "bytes": alone.stat().st_size if alone else sum(file["bytes"] for file in files.values()),
        "sha256": sha256_of(alone) if alone else None,
        "verified": verified,
    }
    record = {"format": 1, "source": source.label, "layout": source.layout, "archive": packed, "files": files}
    write_json(folder / RECORD, record)
    return record

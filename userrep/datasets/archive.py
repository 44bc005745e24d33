"""Takes named members out of archives, folders and loose files, and nothing else, nowhere else."""

import gzip
import hashlib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from userrep.datasets.packed import DAMAGED, BadArchive, Entry, opened
from userrep.errors import DataError
from userrep.files import replacing

__all__ = ["BadArchive", "extract", "holds", "lacking"]

CHUNK = 1 << 20  # bytes


def extract(
    archive: Path | Sequence[Path], members: Sequence[str], folder: Path, limit: int, extras: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """Write `members`, and those of `extras` that there are, into `folder` under their base names.

    A member is a path in the archive; where there is no such path, the file with its base name counts, wherever it
    lies, packed as `.gz` or not. `*` stands for any part of a base name. Returns {name: {bytes, sha256}}. All
    entries are judged before the first byte is written; each file appears whole or not at all.

    Raises:
        BadArchive: no archive, damaged, a member is missing, a link or encrypted, an entry points out of its
            folder, or the members hold more than `limit` bytes together.
        DataError: `folder` cannot be written.
    """
    paths = [archive] if isinstance(archive, Path) else list(archive)
    named = ", ".join(map(str, paths))
    with opened(paths) as entries:
        wanted, missing = _wanted(entries, members)
        if missing:
            raise BadArchive(f"{named} does not hold {', '.join(missing)}", "give the archive as it was published")
        wanted |= _wanted(entries, extras)[0]
        for entry in wanted.values():
            if entry.fault:
                raise BadArchive(*entry.fault)
        if (total := sum(entry.size for entry in wanted.values())) > limit:
            raise BadArchive(f"{named} would unpack to {total:,} bytes; the limit is {limit:,}", "do not use it")
        return {name: _copy(entry, folder / name) for name, entry in wanted.items()}


def holds(archive: Path | Sequence[Path], members: Sequence[str]) -> bool:
    """Say whether `archive` can be read and has all of `members`."""
    try:
        return not lacking([archive] if isinstance(archive, Path) else archive, members)
    except DataError:
        return False


def lacking(paths: Sequence[Path], members: Sequence[str]) -> list[str]:
    """List those of `members` that `paths` do not hold.

    Raises:
        DataError: they cannot be read.
    """
    with opened(paths) as entries:
        return _wanted(entries, members)[1]


def _wanted(entries: Sequence[Entry], members: Iterable[str]) -> tuple[dict[str, Entry], list[str]]:
    """Return {base name: entry} of `members`, and those that are missing.

    Raises:
        BadArchive: a member could be one of several files.
    """
    found: dict[str, Entry] = {}
    missing = []
    for member in members:
        fitting = [entry for entry in entries if entry.path == member] or _by_name(entries, member)
        for name in {entry.name for entry in fitting}:
            same = [entry for entry in fitting if entry.name == name]
            if len(same) > 1:
                both = " and ".join(entry.path for entry in same[:2])
                raise BadArchive(f"{member} may be {both}", "give only the files that are meant")
            found[name] = same[0]
        if not fitting:
            missing.append(member)
    return found, missing


def _by_name(entries: Sequence[Entry], member: str) -> list[Entry]:
    name = PurePosixPath(member).name
    plain = [entry for entry in entries if fnmatchcase(entry.name, name)]
    return plain or [entry for entry in entries if fnmatchcase(entry.name, f"{name}.gz")]


def _copy(entry: Entry, target: Path) -> dict[str, Any]:
    sha256, count = hashlib.sha256(), 0
    with replacing(target) as temporary:
        with entry.open() as packed, open(temporary, "wb") as out:
            while chunk := packed.read(CHUNK):
                out.write(chunk)
                sha256.update(chunk)
                count += len(chunk)
        if target.suffix == ".gz":
            _refuse_cut_short(temporary, entry)
    return {"bytes": count, "sha256": sha256.hexdigest()}


def _refuse_cut_short(path: Path, entry: Entry) -> None:
    """Read a file packed with gzip to its end, where its checksum is."""
    try:
        with gzip.open(path) as file:
            while file.read(CHUNK):
                pass
    except (OSError, *DAMAGED) as error:
        cause = f"{entry.path} is damaged or cut short ({error})"
        raise BadArchive(cause, "it may be half a download: fetch it again") from error

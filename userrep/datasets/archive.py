"""Takes named members out of a zip archive and nothing else, nowhere else."""

import hashlib
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from userrep.errors import DataError
from userrep.files import replacing

CHUNK = 1 << 20  # bytes
PLAIN = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
ENCRYPTED = 0x1  # bit of a zip entry's flags


class BadArchive(DataError):
    """This file is no zip, is damaged or hostile, or holds something else."""


def extract(archive: Path, members: Sequence[str], folder: Path, limit: int) -> dict[str, dict[str, Any]]:
    """Write `members` (paths in the archive) into `folder` under their base names.

    Returns {name: {bytes, sha256}}.

    All entries are judged before the first byte is written; each file appears whole or not at all.

    Raises:
        BadArchive: no zip, damaged, a member is missing, a link or encrypted, an entry points out of its
            folder, or the members hold more than `limit` bytes together.
        DataError: `folder` cannot be written.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = _entries(opened, members)
            if (
                total := sum(entry.file_size for entry in entries)
            ) > limit:  # zipfile stops at the size an entry states
                raise BadArchive(
                    f"{archive} would unpack to {total:,} bytes; the limit is {limit:,}", "do not use it"
                )
            return {
                (name := PurePosixPath(e.filename).name): _copy(opened, e, folder / name) for e in entries
            }
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise BadArchive(f"{archive} is damaged or no zip archive ({error})", "fetch it again") from error


def holds(archive: Path, members: Sequence[str]) -> bool:
    """Say whether `archive` is a readable zip with all of `members`."""
    try:
        with zipfile.ZipFile(archive) as opened:
            return set(members) <= set(opened.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def _entries(opened: zipfile.ZipFile, members: Sequence[str]) -> list[zipfile.ZipInfo]:
    known = {entry.filename: entry for entry in opened.infolist()}
    for name in known:
        if _escapes(name):
            raise BadArchive(
                f"{opened.filename} has an entry that points out of its folder: {name!r}", "do not use it"
            )
    missing = [member for member in members if member not in known]
    if missing:
        raise BadArchive(
            f"{opened.filename} does not hold {', '.join(missing)}", "give the archive as it was published"
        )
    entries = [known[member] for member in members]
    for entry in entries:
        _refuse_special(entry, str(opened.filename))
    return entries


def _escapes(name: str) -> bool:
    windows = PureWindowsPath(name)  # reads both kinds of slash
    return bool(windows.anchor) or ".." in windows.parts


def _refuse_special(entry: zipfile.ZipInfo, archive: str) -> None:
    mode = entry.external_attr >> 16
    if entry.is_dir() or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
        raise BadArchive(f"{archive}: {entry.filename} is no plain file", "do not use it")
    if entry.flag_bits & ENCRYPTED or entry.compress_type not in PLAIN:
        raise BadArchive(
            f"{archive}: {entry.filename} is encrypted or packed in an unusual way", "pack it as a plain zip"
        )


def _copy(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> dict[str, Any]:
    sha256, count = hashlib.sha256(), 0
    with replacing(target) as temporary, opened.open(entry) as packed, open(temporary, "wb") as out:
        while chunk := packed.read(CHUNK):
            out.write(chunk)
            sha256.update(chunk)
            count += len(chunk)
    return {"bytes": count, "sha256": sha256.hexdigest()}

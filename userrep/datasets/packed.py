"""What is inside an archive, a folder or loose files: plain files that can be opened, each judged before it is."""

import gzip
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import IO

from userrep.errors import DataError

MOST = 100_000  # files looked at in a folder
PLAIN = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
ENCRYPTED = 0x1  # bit of a zip entry's flags
PAGE_SIGNS = (b"<!doctype", b"<html", b"<head", b"<!--")
FOREIGN = {b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "rar", b"\x28\xb5\x2f\xfd": "zstd"}
TAR_AT, TAR_SIGN = 257, b"ustar"
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError)


class BadArchive(DataError):
    """This file is no archive, is damaged or hostile, or holds something else."""


@dataclass(frozen=True)
class Entry:
    """A file inside: its path there, its size (bytes), how to open it, and why it cannot be taken (None: it can)."""

    path: str
    size: int
    open: Callable[[], IO[bytes]]
    fault: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        """Its base name."""
        return self.path.rpartition("/")[2]


@contextmanager
def opened(paths: Sequence[Path]) -> Iterator[list[Entry]]:
    """Open archives (zip, tar, packed tar), folders and loose files, told apart by their first bytes.

    Raises:
        BadArchive: one is damaged, a web page, of an unknown kind, or has an entry that points out of its folder.
        DataError: one cannot be read.
    """
    with ExitStack() as stack:
        try:
            yield [entry for path in paths for entry in _entries(path, stack)]
        except DAMAGED as error:
            named = ", ".join(map(str, paths))
            reason = str(error).strip("'\"") or type(error).__name__
            raise BadArchive(
                f"{named} is damaged or no zip archive ({reason})", "it may be half a download: fetch it again"
            ) from error


def _entries(path: Path, stack: ExitStack) -> list[Entry]:
    if path.is_dir():
        return _of_folder(path)
    try:
        with open(path, "rb") as file:
            head = file.read(TAR_AT + len(TAR_SIGN))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error
    _refuse_foreign(path, head)
    if head.startswith(b"PK") and not zipfile.is_zipfile(path):
        cause = f"{path} is damaged: the end of the zip is missing"
        raise BadArchive(cause, "it may be half a download: fetch it again")
    if head.startswith(b"PK") or path.suffix in (".zip", ".whl"):
        return _of_zip(stack.enter_context(zipfile.ZipFile(path)), path)
    if _is_tar(path, head):
        return _of_tar(stack.enter_context(tarfile.open(path)), path)
    return [_loose(path, path.name.removesuffix(".part"))]  # of a file that is still being fetched


def _refuse_foreign(path: Path, head: bytes) -> None:
    if head.lstrip().lower().startswith(PAGE_SIGNS):
        raise BadArchive(f"{path} is a web page, not data", "open the address in a browser and save the file itself")
    for sign, kind in FOREIGN.items():
        if head.startswith(sign):
            raise BadArchive(f"{path} is a {kind} archive, which cannot be read here", "unpack it and give the folder")


def _is_tar(path: Path, head: bytes) -> bool:
    if head.startswith(b"\x1f\x8b"):
        try:
            with gzip.open(path) as file:
                head = file.read(TAR_AT + len(TAR_SIGN))
        except (OSError, *DAMAGED) as error:
            raise BadArchive(f"{path} is damaged or cut short ({error})", "fetch it again") from error
    elif head.startswith((b"BZh", b"\xfd7zXZ")):
        return True
    return head[TAR_AT:].startswith(TAR_SIGN)


def _of_zip(archive: zipfile.ZipFile, path: Path) -> list[Entry]:
    found = []
    for entry in archive.infolist():
        _refuse_escape(entry.filename, path)
        mode, fault = entry.external_attr >> 16, None
        if entry.is_dir() or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
            fault = (f"{path}: {entry.filename} is no plain file", "do not use it")
        elif entry.flag_bits & ENCRYPTED or entry.compress_type not in PLAIN:
            fault = (f"{path}: {entry.filename} is encrypted or packed in an unusual way", "pack it as a plain zip")
        # zipfile stops at the size that an entry states
        found.append(Entry(entry.filename, entry.file_size, partial(archive.open, entry), fault))
    return found


def _of_tar(archive: tarfile.TarFile, path: Path) -> list[Entry]:
    found = []
    for member in archive.getmembers():
        _refuse_escape(member.name, path)
        fault = None if member.isreg() else (f"{path}: {member.name} is no plain file", "do not use it")
        found.append(Entry(member.name, member.size, partial(_from_tar, archive, member), fault))
    return found


def _from_tar(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(member)
    assert file is not None  # a plain file
    return file


def _of_folder(folder: Path) -> list[Entry]:
    """List the files below a folder; links to folders are not followed, and an archive inside is a file."""
    found: list[Entry] = []
    for place, _, names in os.walk(folder):
        paths = [Path(place) / name for name in sorted(names)]
        found += [_loose(path, path.relative_to(folder).as_posix()) for path in paths if path.is_file()]
        if len(found) > MOST:
            raise DataError(f"{folder} holds more than {MOST:,} files", "give the folder of the data set")
    return found


def _loose(path: Path, name: str) -> Entry:
    return Entry(name, path.stat().st_size, lambda: open(path, "rb"))


def _refuse_escape(name: str, archive: Path) -> None:
    windows = PureWindowsPath(name)  # reads both kinds of slash
    if windows.anchor or ".." in windows.parts:
        raise BadArchive(f"{archive} has an entry that points out of its folder: {name!r}", "do not use it")

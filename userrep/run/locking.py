"""The lock of a run: one process writes its folder at a time."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from userrep import console
from userrep.errors import UsageError
from userrep.files import explaining_write_errors
from userrep.run.record import LOCK


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the one lock of a run; the system lets go of it when a process dies, however it dies.

    The folder is made where there is none, and removed where nothing came into it.

    Raises:
        UsageError: another process holds it.
        DataError: the folder cannot be written.
    """
    with explaining_write_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        file = _lock_file(path)
    try:
        yield
    finally:
        if not any(entry.name != LOCK for entry in path.glob("*")) and path.exists():
            (path / LOCK).unlink(missing_ok=True)
            path.rmdir()
        file.close()


def _lock_file(path: Path) -> TextIO:
    while True:
        file = (path / LOCK).open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "another"
            file.close()
            raise UsageError(
                f"{path} is being written by process {owner}", "wait for it, stop it, or name another --run"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
            console.warn(f"this file system has no locks: see to it that nothing else writes {path}")
        if _still_there(file, path):
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            return file
        file.close()  # its folder was removed by the process that held it before
        path.mkdir(parents=True, exist_ok=True)


def _still_there(file: TextIO, path: Path) -> bool:
    try:
        return os.fstat(file.fileno()).st_ino == (path / LOCK).stat().st_ino
    except FileNotFoundError:
        return False

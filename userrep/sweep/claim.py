"""Claims: who runs a trial, by a lock that the system takes back when its holders die, however they die."""

import errno
import fcntl
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from userrep import console
from userrep.files import explaining_write_errors

_warned = False


@dataclass
class Claim:
    """The right to run a trial; a child that inherits `descriptor` holds it too, so that it outlives its parent."""

    descriptor: int

    def release(self) -> None:
        """Let go of it; it is free once no child holds it any more."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def take(path: Path) -> Claim | None:
    """Claim what `path` stands for; None where another process on this file system holds it.

    Raises:
        DataError: the file cannot be written.
    """
    with explaining_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                os.close(descriptor)
                raise
            _warn(path)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} on {platform.node()}".encode(), 0)
    return Claim(descriptor)


def holder(path: Path) -> str:
    """Return who wrote a claim last, as `process 7 on host`."""
    try:
        return f"process {path.read_text(encoding='utf-8').strip()}"
    except (OSError, UnicodeDecodeError):
        return "another process"


def _warn(path: Path) -> None:
    global _warned
    if not _warned:
        console.warn(f"the file system of {path} has no locks: see to it that no other shell works on this sweep")
    _warned = True

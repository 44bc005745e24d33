"""Launching: a trial becomes a child process with its own log, its own share of the machine, its own claim."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from userrep.files import explaining_write_errors
from userrep.sweep.claim import Claim
from userrep.sweep.ledger import ANSWER, LOG
from userrep.sweep.slots import Slot

PROGRAM = (sys.executable, "-m", "userrep")


class Child(Protocol):
    """A trial that runs."""

    where: str

    def poll(self) -> int | None:
        """Return its exit code, None while it runs; below zero the signal that ended it."""

    def stop(self) -> None:
        """Ask it to write a checkpoint and end."""

    def kill(self) -> None:
        """End it at once."""


class Launcher(Protocol):
    """What starts trials somewhere."""

    def free(self) -> bool:
        """Say whether another trial may begin."""

    def start(self, words: Sequence[str], place: Path, claim: Claim) -> Child:
        """Begin a trial: stdout becomes its answer in `place`, stderr is added to its log there."""


def begin(
    command: Sequence[str],
    place: Path,
    environment: Mapping[str, str],
    descriptors: Sequence[int] = (),
    cwd: str | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own: Ctrl-C in the terminal reaches the sweep alone, which stops it once.

    Raises:
        DataError: its files cannot be written.
    """
    with explaining_write_errors(place):
        place.mkdir(parents=True, exist_ok=True)
        with (place / ANSWER).open("wb") as answer, (place / LOG).open("ab") as log:
            return subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=answer, stderr=log, env={**os.environ, **environment},
                pass_fds=tuple(descriptors), cwd=cwd, start_new_session=True,
            )  # fmt: skip


class LocalChild:
    """A child process on this machine, which gives its slot back when it has ended."""

    def __init__(self, process: subprocess.Popen[bytes], slot: Slot, slots: list[Slot]) -> None:
        self.where = slot.name
        self._process, self._slot, self._slots = process, slot, slots
        self._back = False

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        code = self._process.poll()
        if code is not None and not self._back:
            self._back = True
            self._slots.append(self._slot)
        return code

    def stop(self) -> None:
        """Send SIGTERM."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to it and whatever it has started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)  # its session is its own


class Local:
    """Child processes on this machine, one a slot."""

    def __init__(self, slots: Sequence[Slot], program: Sequence[str] = PROGRAM) -> None:
        self._free = list(slots)
        self._program = tuple(program)

    def free(self) -> bool:
        """Say whether a slot is free."""
        return bool(self._free)

    def start(self, words: Sequence[str], place: Path, claim: Claim) -> Child:
        """Begin a trial in a free slot; the child holds the claim too."""
        slot = self._free.pop(0)
        try:
            process = begin([*self._program, *words, "--json"], place, slot.environment, [claim.descriptor])
        except BaseException:
            self._free.append(slot)
            raise
        return LocalChild(process, slot, self._free)

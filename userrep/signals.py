"""Signals that ask work to stop at the next safe point."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from userrep.errors import Interrupted


class Stop:
    """The first SIGINT or SIGTERM that arrived, if any."""

    def __init__(self) -> None:
        self.received: int | None = None

    def check(self) -> None:
        """Raise Interrupted if a signal arrived."""
        if self.received is not None:
            raise Interrupted(self.received)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = signum


@contextmanager
def graceful() -> Iterator[Stop]:
    """Record SIGINT and SIGTERM in `.received` for the loop inside; a second signal stops it at once.

    Works in the main thread only; elsewhere nothing is recorded.
    """
    stop = Stop()
    before = {}
    try:
        for signum in (signal.SIGINT, signal.SIGTERM):
            before[signum] = signal.signal(signum, stop._handle)
    except ValueError:  # not the main thread
        pass
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)

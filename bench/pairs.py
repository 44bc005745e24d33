"""Paired measurement: two ways of one piece of work take turns in one process, and the ratio of each turn counts."""

import gc
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

Work = Callable[[], float]
MIB = 1 << 20


@dataclass(frozen=True)
class Turn:
    """What one run took: wall seconds, and seconds of processor time over all threads."""

    wall: float
    processor: float


@dataclass(frozen=True)
class Turns:
    """Runs of both ways in turn; `plain` is empty where only our way could run."""

    ours: list[Turn]
    plain: list[Turn]

    @property
    def ratio(self) -> float | None:
        """Return how many times longer the plain way takes: the median over turns."""
        return self._ratio("wall")

    @property
    def processor_ratio(self) -> float | None:
        """Return the same of processor time, which a busy machine stretches less."""
        return self._ratio("processor")

    @property
    def waiting(self) -> float:
        """Return the share of the wall time in which not even one thread was running: others had the machine."""
        both = [*self.ours, *self.plain]
        return max(0.0, 1 - sum(turn.processor for turn in both) / sum(turn.wall for turn in both))

    def _ratio(self, clock: str) -> float | None:
        pairs = zip(self.ours, self.plain, strict=True)
        return median(getattr(p, clock) / getattr(o, clock) for o, p in pairs) if self.plain else None


class Disagreement(AssertionError):
    """The two ways did not compute the same."""


def take_turns(ours: Work, plain: Work | None, seconds: float, tolerance: float | None, most: int = 15) -> Turns:
    """Run each once to warm up and to compare what they return, then in turns for about `seconds`, 3 turns at least.

    Raises Disagreement where the first results differ by more than `tolerance`, relatively.
    """
    began = time.perf_counter()
    first = ours()
    if plain is None:
        return Turns([_timed(ours)], [])
    other = plain()
    if tolerance is not None and abs(first - other) > tolerance * max(abs(first), abs(other), 1e-9):
        raise Disagreement(f"ours gives {first!r}, the plain way {other!r}")
    turns = max(3, min(most, int(seconds / max(1e-9, time.perf_counter() - began))))
    gc.collect()
    gc.freeze()  # what is there now need not be looked through before each turn
    taken = [(_timed(ours), _timed(plain)) for _ in range(turns)]
    gc.unfreeze()
    return Turns([pair[0] for pair in taken], [pair[1] for pair in taken])


def take_one_turn(ours: Work, plain: Work) -> Turns:
    """Run each once, for what takes long and cannot be run twice from one set of weights."""
    return Turns([_timed(ours)], [_timed(plain)])


def _timed(work: Work) -> Turn:
    gc.collect()
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return Turn(time.perf_counter() - wall, time.process_time() - processor)


def peak_memory(work: Work) -> float:
    """Return by how many MiB this process grows above its present size while `work` runs, warm-up and all."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts again from here
    before = _status("VmRSS")
    work()
    return (_status("VmHWM") - before) / MIB


def can_measure_memory() -> bool:
    """Say whether the system tells a process's peak (Linux does)."""
    return os.access("/proc/self/clear_refs", os.W_OK)


def available_memory() -> int:
    """Return the bytes that can be taken without swapping."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}")

"""A case: one piece of work, done our way and the plain way on the same data with the same weights."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.pairs import Work, available_memory

SPARE = 0.7  # of the free memory may be asked for


@dataclass(frozen=True)
class Case:
    """One comparison.

    `ours` and `plain` set the work up; what it returns may differ by `tolerance`, relatively, and by anything where
    that is None, since the two then compute different things on purpose. Without `plain`, `refusal` says why.
    `memory` measures the peaks too, each side in a process of its own; `once` runs each side a single time.
    """

    group: str
    items: int
    detail: str
    ours: Callable[[], Work]
    plain: Callable[[], Work] | None
    tolerance: float | None = None
    refusal: str = ""
    memory: bool = False
    once: bool = False

    @property
    def name(self) -> str:
        """Name the case on a command line."""
        return f"{self.group}/{self.items}/{self.detail}"


def too_large(needed: int) -> str:
    """Return why something that needs so many bytes is not run, or nothing where it can be."""
    free = available_memory()
    if needed <= SPARE * free:
        return ""
    return f"it needs {needed / 2**30:.0f} GiB, {free / 2**30:.0f} are free"

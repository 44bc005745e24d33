"""How much memory preparing may take, and which way it goes because of that."""

import re
from dataclasses import dataclass
from pathlib import Path

from userrep.datasets.blocks import is_packed
from userrep.datasets.dataset import Dataset, PartwiseDataset
from userrep.datasets.parquet_rows import is_parquet
from userrep.errors import UsageError
from userrep.sequences.stream import Sizes

BUDGET = "4GiB"
LEAST = 384 << 20  # the libraries alone take half of it
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
UNPACKED = 5  # times the bytes of a file packed with gzip, and of a parquet file
TAKEN = 14  # bytes of memory a byte of text, where all events are in memory at once


@dataclass(frozen=True)
class Way:
    """How to prepare: `streamed` is the data set where the events go by way of the disk, and `reason` says why."""

    reason: str
    sizes: Sizes
    streamed: PartwiseDataset | None = None


def choose_way(dataset: Dataset, raw_dir: Path, memory: str | None, stream: bool | None) -> Way:
    """Choose by the size of the raw files and a budget such as "4GiB"; `stream` forces one way.

    Raises:
        UsageError: the budget is no size or too small, or the data set can be read as a whole only.
    """
    budget = parse_size(memory or BUDGET)
    able = dataset if isinstance(dataset, PartwiseDataset) else None
    raw_bytes = sum(map(_unpacked_bytes, able.event_files(raw_dir))) if able else 0
    needed, sizes = raw_bytes * TAKEN, Sizes.of(raw_bytes, budget)
    if stream and able is None:
        raise UsageError(
            f"{dataset.name} is read as a whole: its reader does not go through its files part by part",
            "leave --stream out, or make its events a table: dataset=table dataset.path=FILES",
        )
    if stream is False or able is None:
        why = "as asked for" if stream is False else "its reader reads all at once"
        return Way(f"preparing in memory, {why}", sizes)
    if stream is None and needed <= budget:
        return Way(f"preparing in memory: about {_told(needed)} of {_told(budget)}", sizes)
    why = "as asked for" if stream else f"in memory it would take about {_told(needed)}"
    return Way(f"preparing by way of the disk in {sizes.shares} shares, below {_told(budget)}: {why}", sizes, able)


def parse_size(text: str) -> int:
    """Return the bytes of a size such as 512MiB, 4g or 1.5 GB; units are powers of 1024."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text, re.IGNORECASE)
    if found is None:
        raise UsageError(f"--memory is {text!r}, not a size", "give one such as 4GiB or 512MiB")
    size = int(float(found[1]) * UNITS[found[2].lower()])
    if size < LEAST:
        raise UsageError(f"--memory is {text!r}, too little to work in", f"give at least {_told(LEAST)}")
    return size


def _unpacked_bytes(path: Path) -> int:
    if not path.is_file():
        return 0
    return path.stat().st_size * (UNPACKED if is_parquet(path) or is_packed(path) else 1)


def _told(size: float) -> str:
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{size / (1 << 20):.0f} MiB"

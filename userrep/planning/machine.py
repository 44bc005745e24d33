"""This machine: the memory that is there, and how much of it this process has taken."""

import os
import resource
import sys
from pathlib import Path

import torch

CONTEXT = 800 * 2**20  # bytes of a CUDA context with its libraries, which no shape tells: assumed
_GROUP = Path("/sys/fs/cgroup")  # where a container's limit is written, and what it has taken
_LIMITS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))


def memory_there(device: torch.device) -> int | None:
    """Return the bytes that a process could take on a device, None where nothing tells.

    On a CPU that is what the system calls available, and this process's own, below the limit of its container.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device)
    limits = [limit for limit in (_available(), _below_group_limit()) if limit is not None]
    return min(limits) + resident() if limits else None


def peak_on(device: torch.device) -> int:
    """Return the most bytes that this process had of a device: of a GPU what its allocator took, and CONTEXT."""
    return CONTEXT + torch.cuda.max_memory_reserved(device) if device.type == "cuda" else peak_resident()


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return peak_resident()
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak_resident() -> int:
    """Return the most bytes of this process that were in memory at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = dict(line.split(":", 1) for line in lines)
        return int(found["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError, IndexError):
        return None


def _below_group_limit() -> int | None:
    for names in _LIMITS:
        try:
            most, now = (int((_GROUP / name).read_text(encoding="ascii")) for name in names)
        except (OSError, ValueError):  # "max", or no such file: no limit
            continue
        return max(0, most - now)
    return None

"""Where a result came from: versions of what computed it, the machine's kind, the commit of a checkout."""

import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import userrep

_PACKAGES = ("torch", "numpy", "polars", "scipy", "hydra-core")


def versions() -> dict[str, str]:
    """Return the versions of userrep, Python and the packages that shape a number."""
    found = {"userrep": userrep.__version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Describe the kind of machine, not which one: processor, cores, threads, accelerator."""
    described: dict[str, Any] = {
        "system": platform.system(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
    torch = sys.modules.get("torch")  # asked only where something has loaded it
    if torch is not None:
        described["threads"] = torch.get_num_threads()
        if torch.cuda.is_available():
            described["gpu"] = torch.cuda.get_device_name()
    return described


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache  # of the process: what was loaded is what runs, whatever is checked out meanwhile
def commit() -> str | None:
    """Return the commit of the checkout this package runs from, `-dirty` if it was changed; else None."""
    top = Path(userrep.__file__).resolve().parent.parent
    if not (top / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=top, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None

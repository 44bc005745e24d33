"""Generate events on disk, prepare them below a limit of memory, and tell the time and the peak of all processes.

    python -m bench.hundred_million --folder /big/disk/scratch

The folder must not be part of the repository; what was generated and prepared is removed, unless --keep.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl

FILE = 5_000_000  # events
START, SPAN = 1_500_000_000, 10**8  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--events", type=int, default=100_000_000)
    parser.add_argument("--users", type=int, default=10_000_000)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--format", choices=["csv", "csv.gz", "parquet"], default="csv")
    parser.add_argument("--numbers", action="store_true", help="integer ids in place of text")
    parser.add_argument("--memory", default="4GiB")
    parser.add_argument("--keep", action="store_true", help="keep the generated and the prepared files")
    asked = parser.parse_args()
    raw = asked.folder / f"events-{asked.events}-{asked.format}-{'numbers' if asked.numbers else 'text'}"
    if not raw.exists():
        generate(raw, asked)
    data = asked.folder / "data"
    command = [sys.executable, "-m", "userrep", "preprocess", "--from-file", str(raw), "--name", "large", "--json"]
    command += ["--data-dir", str(data), "--memory", asked.memory, "--stream"]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peaks = Peaks(process.pid)
    answer, _ = process.communicate()
    took = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = {
        "events": asked.events, "users": asked.users, "items": asked.items, "format": asked.format,
        "ids": "numbers" if asked.numbers else "text",
        "raw_gib": round(sum(path.stat().st_size for path in raw.iterdir()) / 2**30, 2),
        "seconds": round(took, 1), "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mib": round(peaks.total / 2**20), "exit": process.returncode,
        "hash": json.loads(answer or "{}").get("hash"),
    }  # fmt: skip
    print(json.dumps(told, indent=2))
    if not asked.keep:
        shutil.rmtree(data, ignore_errors=True)
        shutil.rmtree(raw, ignore_errors=True)
    sys.exit(process.returncode)


def generate(folder: Path, asked: argparse.Namespace) -> None:
    """Write files of events in no order: users of many and few events, popular and rare items."""
    rng = np.random.default_rng(0)
    popularity = np.cumsum(1 / (np.arange(asked.items) + 10))
    names = rng.permutation(asked.items)
    partial = folder.with_name(f".{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for number, begin in enumerate(range(0, asked.events, FILE)):
        count = min(FILE, asked.events - begin)
        user = (asked.users * rng.random(count) ** 1.3).astype(np.int64)
        item = names[np.searchsorted(popularity, rng.random(count) * popularity[-1])]
        frame = pl.DataFrame({"user": user, "item": item, "time": START + rng.integers(0, SPAN, count)})
        if not asked.numbers:
            frame = frame.with_columns(user=pl.format("user-{}", "user"), item=pl.format("B{}", "item"))
        path = partial / f"{number:04d}.{asked.format}"
        if asked.format == "parquet":
            frame.write_parquet(path)
        else:
            frame.lazy().sink_csv(path, compression="gzip" if path.suffix == ".gz" else "uncompressed")
        print(f"generated {begin + count:,} events", file=sys.stderr)
    partial.rename(folder)


class Peaks:
    """The most memory of a process and its children together, looked at ten times a second.

    `total` is the larger of the sums that were seen and the main process's own peak as the system counts it.
    """

    def __init__(self, pid: int) -> None:
        self.pid, self.total = pid, 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            try:
                seen = sum(status(pid, "VmRSS") for pid in family(self.pid))
                self.total = max(self.total, seen, status(self.pid, "VmHWM"))
            except OSError:
                return
            time.sleep(0.1)


def family(pid: int) -> list[int]:
    """List a process and all below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            found += family(int(child))
    return found


def status(pid: int, key: str) -> int:
    """Return a size in /proc/PID/status in bytes; 0 where the process has ended."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main()

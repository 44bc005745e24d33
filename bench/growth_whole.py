"""`python -m bench.growth_whole`: whole commands against events prepared and against devices that train together."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import report
from bench.hundred_million import Peaks
from bench.limits import moved
from userrep import console

TOP = Path(__file__).resolve().parent
PICTURE = TOP.parent / "docs" / "pictures" / "growth-whole.png"
EVENTS, DEVICES = (1_000_000, 10_000_000), (1, 2)
SHAPE = (
    "model=nextitnet", "objective=next_item_sampled", "trainer.tables=lazy", "trainer.length=50", "trainer.epochs=2",
    "trainer.batch_size=256", "trainer.patience=0", "trainer.validate_users=256", "protocol.history=50",
)  # fmt: skip
ROWS = (
    ("seconds", "seconds", "log"),
    ("peak_mib", "MiB at the peak", "log"),
    ("share", "share of the limit", "linear"),
)
COLUMNS = ((("preparation",), "events"), (("training",), "devices"))
Point = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, or draw what was measured; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth_whole", description=__doc__)
    parser.add_argument("--events", nargs="*", type=int, default=list(EVENTS), help="100M takes some ten minutes")
    parser.add_argument("--devices", nargs="*", type=int, default=list(DEVICES), help="processes of one thread each")
    parser.add_argument("--trained-on", type=int, default=1_000_000, help="events of the data that devices train on")
    parser.add_argument("--folder", type=Path, help="where generated files go for a while; the system's temporary one")
    parser.add_argument("--draw", action="store_true", help="only draw the JSON file (needs matplotlib)")
    parser.add_argument("--out", type=Path, default=TOP / "results" / "growth-whole.json")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    asked = parser.parse_args(arguments)
    if asked.draw:
        from bench.growth_picture import draw

        draw(asked.out, asked.picture, ROWS, COLUMNS)
        return 0
    limits = {"gigabytes": moved()}
    points: list[Point] = []
    with tempfile.TemporaryDirectory(prefix="userrep-growth-", dir=asked.folder) as folder:
        for count in asked.events:
            points.append(prepared(count, Path(folder), limits["gigabytes"]))
            console.note(_line(points[-1]))
        for point in trained(asked.devices, asked.trained_on, Path(folder)):
            points.append(point)
            console.note(_line(point))
    report.write(asked.out, report.conditions() | {"limits": limits, "points": points})
    return 0


def prepared(events: int, folder: Path, gigabytes: float) -> Point:
    """Prepare generated events by way of the disk: processor seconds, and the peak of all processes together.

    The share is of what a copy would have moved in that time, of the raw files read once.
    """
    told = _generate(events, folder)
    share = told["raw_gib"] * 2**30 / 1e9 / told["processor_seconds"] / gigabytes
    return {
        "kind": "preparation", "size": events, "seconds": told["processor_seconds"], "peak_mib": told["peak_mib"],
        "share": share, "wall_seconds": told["seconds"],
    }  # fmt: skip


def trained(devices: Sequence[int], events: int, folder: Path) -> Iterator[Point]:
    """Train on generated events with so many processes: wall seconds of two epochs, and the peak of all processes.

    The share is of what one process does, times their number.
    """
    if not devices:
        return
    _generate(events, folder, "--keep")
    alone = None
    for count in devices:
        run = folder / f"run-{count}"
        command = ["pretrain", "dataset=large", *SHAPE, f"trainer.devices={count}", "--run", str(run)]
        peak = _run([*command, "--data-dir", str(folder / "data")])
        lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        seconds = lines[-1]["seconds"]  # of both epochs and their validations
        alone = seconds * count if alone is None else alone
        yield {
            "kind": "training", "size": count, "seconds": seconds, "peak_mib": peak, "share": alone / (seconds * count),
            "sequences_per_second": lines[-1]["sequences_per_second"],
        }  # fmt: skip


def _generate(events: int, folder: Path, *more: str) -> dict[str, Any]:
    sizes = ["--events", str(events), "--users", str(max(10, events // 20)), "--items", str(max(10, events // 100))]
    command = [sys.executable, "-m", "bench.hundred_million", "--folder", str(folder), *sizes, *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _run(words: Sequence[str]) -> float:
    """Run a command and return the MiB of all its processes together at their peak."""
    process = subprocess.Popen(
        [sys.executable, "-m", "userrep", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=_environment() | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    peaks = Peaks(process.pid)
    if process.wait():
        raise RuntimeError(f"userrep {' '.join(words)} ended with {process.returncode}")
    return round(peaks.total / 2**20, 1)


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(TOP.parent), os.environ.get("PYTHONPATH", "")])}


def _line(point: Point) -> str:
    return (
        f"{point['kind']}, {point['size']:,}: {point['seconds']:.1f} s, {point['peak_mib']:.0f} MiB, "
        f"share {point['share']:.3f}"
    )


if __name__ == "__main__":
    sys.exit(main())

"""Kill short runs again and again, let the same command go on, and check that they end as if nothing had happened.

A run is killed at random moments, by SIGKILL, SIGTERM and SIGINT, and inside checkpoint writes, until it comes to its
end. Then its weights, its last weights and its log but for wall time must equal, bit for bit, those of a run that was
left alone.

    python scripts/kill_and_resume.py                  # 50 kills, 10 of them inside a checkpoint write
    python scripts/kill_and_resume.py --kills 6 --inside 2
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

WALL_TIME = ("seconds", "sequences_per_second")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
HALF_WRITTEN = ".checkpoint*.tmp*"
PATIENCE = 120.0  # seconds after which a child is taken to hang
SMALL = ("model.width=96", "model.dilations=[1,4]", "trainer.batch_size=32", "trainer.patience=0")
PRETRAIN = ("pretrain", "dataset=synthetic", *SMALL, "trainer.epochs=4")

Outcome = dict[str, str]
Moment = Callable[[Path], bool]


@dataclass
class Killed:
    """One kill: by what, and whether a half-written checkpoint was left behind."""

    run: str
    signal: str
    inside: bool
    after: float


@dataclass
class Trial:
    """A command whose run is killed until it is finished; `folder` is the run's."""

    words: Sequence[str]
    folder: Path
    kills: list[Killed] = field(default_factory=list)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command, as a user would start it again."""
        command = [sys.executable, "-m", "userrep", *self.words, "--run", str(self.folder)]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, env=environment(), **quiet)

    def live(self, moment: Moment, signum: int) -> bool:
        """Run the command until `moment` and kill it there; return False where it came to its end before."""
        process, began = self.start(), time.monotonic()
        try:
            while process.poll() is None and not moment(self.folder):
                if time.monotonic() - began > PATIENCE:
                    raise RuntimeError(f"{' '.join(self.words)} hangs")
            if process.poll() is None:
                process.send_signal(signum)
            code = process.wait(PATIENCE)
        finally:
            process.kill()
        if code == 0:
            return False
        if code not in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, 130, 143):  # negative: before it could listen
            raise RuntimeError(f"{' '.join(self.words)} ended with {code}")
        inside = half_written(self.folder)
        self.kills.append(Killed(self.folder.name, signal.Signals(signum).name, inside, time.monotonic() - began))
        return True

    def finish(self) -> Outcome:
        """Let the command come to its end."""
        code = self.start().wait(PATIENCE)
        if code != 0:
            raise RuntimeError(f"{' '.join(self.words)} --run {self.folder} ended with {code}")
        return outcome(self.folder)


def environment() -> dict[str, str]:
    """Return the environment of a child: one thread, since threads decide the last bits; this checkout first."""
    top = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(part for part in (top, os.environ.get("PYTHONPATH")) if part)
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}


def half_written(folder: Path) -> bool:
    """Say whether a checkpoint is being written, or was when its writer died."""
    return any(folder.glob(HALF_WRITTEN))


def progress(folder: Path) -> tuple[int, ...]:
    """Return what changes whenever a run gets on: when its log and its checkpoint were written last."""
    files = (folder / "log.jsonl", folder / "checkpoint.pt")
    return tuple(file.stat().st_mtime_ns if file.exists() else 0 for file in files)


def at_random(rng: random.Random, longest: float) -> Moment:
    """Return a random moment, up to `longest` seconds after a child got on; one in five counts from its start."""
    wait, before, begun = rng.uniform(0, longest), list[tuple[int, ...]](), [0.0]
    from_start = rng.random() < 0.2

    def reached(folder: Path) -> bool:
        time.sleep(0.001)
        if not before:
            before.append(progress(folder))
        if not begun[0] and (from_start or progress(folder) != before[0]):
            begun[0] = time.monotonic()
        return bool(begun[0]) and time.monotonic() - begun[0] >= wait

    return reached


def inside_a_write(rng: random.Random, most: int = 12) -> Moment:
    """Return the moment inside the nth checkpoint write of a child, n random up to `most`."""
    left, known = [rng.randint(1, most)], set[str]()
    first = [True]

    def reached(folder: Path) -> bool:
        time.sleep(0.0003)
        fresh = {file.name for file in folder.glob(HALF_WRITTEN)} - known
        known.update(fresh)
        left[0] -= len(fresh) * (not first[0])  # what an earlier kill left is no write of this child
        first[0] = False
        return bool(fresh) and left[0] <= 0

    return reached


def outcome(folder: Path) -> Outcome:
    """Hash what a finished run leaves: its weights, its last ones, and its log but for wall time."""
    found = {}
    for name in ("model.safetensors", "delta.safetensors", "last.safetensors"):
        if (folder / name).exists():
            found[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    kept = [{key: value for key, value in record.items() if key not in WALL_TIME} for record in records]
    return found | {"log.jsonl": json.dumps(kept)}


def main() -> int:
    """Kill and resume as often as asked; print a line a run and a table at the end; return 1 for any difference."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--inside", type=int, default=10, help="how many of them at least inside a checkpoint write")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    with tempfile.TemporaryDirectory(prefix="userrep-kills-") as place:
        data = Path(place) / "data"
        prepare = [sys.executable, "-m", "userrep", "preprocess", "dataset=synthetic", "--data-dir", str(data)]
        subprocess.run(prepare, env=environment(), check=True, stdout=subprocess.DEVNULL)
        kills, same, runs = kill_until(Path(place), data, asked.kills, asked.inside, rng)
    show(kills, same, runs)
    return 0 if same == runs else 1


def kill_until(place: Path, data: Path, kills: int, inside: int, rng: random.Random) -> tuple[list[Killed], int, int]:
    """Kill runs until there were enough kills of both kinds; return them, the identical runs, and all runs."""
    words = (*PRETRAIN, "--data-dir", str(data))
    rare, often = (*words, "trainer.checkpoint_seconds=0.2"), (*words, "trainer.checkpoint_seconds=0")
    began = time.monotonic()
    wanted = {chosen: Trial(chosen, place / f"reference{n}").finish() for n, chosen in enumerate((rare, often))}
    longest = (time.monotonic() - began) / 4
    done: list[Killed] = []
    same = runs = 0
    while len(done) < kills or sum(kill.inside for kill in done) < inside:
        short = sum(kill.inside for kill in done) < inside and len(done) % 3 == 0
        trial = Trial(often if short else rare, place / f"run{runs}")
        while len(trial.kills) < 6:
            moment = inside_a_write(rng) if short else at_random(rng, longest)
            if not trial.live(moment, signal.SIGKILL if short else rng.choice(SIGNALS)):
                break
        same += (equal := trial.finish() == wanted[trial.words])  # type: ignore[index]
        runs, done = runs + 1, done + trial.kills
        print(f"{trial.folder.name}: {len(trial.kills)} kills, {'identical' if equal else 'DIFFERS'}", flush=True)
    return done, same, runs


def show(kills: list[Killed], same: int, runs: int) -> None:
    """Print how often each signal ended a run, and whether all ended alike."""
    print(f"{'signal':10} {'kills':>6} {'inside a checkpoint write':>26}")
    for name in ("SIGKILL", "SIGTERM", "SIGINT"):
        own = [kill for kill in kills if kill.signal == name]
        print(f"{name:10} {len(own):6} {sum(kill.inside for kill in own):26}")
    print(f"{'all':10} {len(kills):6} {sum(kill.inside for kill in kills):26}")
    print(f"{same} of {runs} runs ended bit-identical to an undisturbed one")


if __name__ == "__main__":
    sys.exit(main())

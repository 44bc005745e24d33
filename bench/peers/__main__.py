"""`python -m bench.peers --data-dir data`: other packages at the same work, in turns, each in its own environment."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench import report
from bench.peers.environment import PINS, environment
from bench.peers.export import export
from userrep import console
from userrep.config import compose
from userrep.sequences.store import open_prepared

HERE = Path(__file__).resolve().parent
COMMON = {"width": 64, "layers": 2, "heads": 2, "length": 50, "batch": 128, "dilations": [1, 4], "repeats": 4}


@dataclass(frozen=True)
class Contest:
    """A peer's work and ours: the model, settings on top of the common ones, and how much of the events there is.

    `clocks` are what is compared: of training a supervised position, of the rest a whole.
    """

    peer: str
    model: str
    settings: dict[str, Any]
    newest: int | None = None
    clocks: tuple[str, ...] = ("",)


ONE_BY_ONE = {"samples": 512, "steps": 12, "hidden": 256, "norm_first": False}
CONTESTS = (
    Contest("recbole", "SASRec", ONE_BY_ONE),
    Contest("recbole", "NextItNet", ONE_BY_ONE),
    Contest("rectools", "SASRec", {"steps": 0, "hidden": 64, "norm_first": True}, 51, ("", "recommend_")),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the contests that were asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="where the data set is prepared")
    parser.add_argument("--dataset", default="ml-1m")
    parser.add_argument("--cache", type=Path, help="where environments are kept; a temporary folder")
    parser.add_argument("--only", choices=sorted(PINS), help="one peer")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=Path, help="the JSON file; bench/results/peers-<data set>.json")
    asked = parser.parse_args(arguments)
    data = open_prepared(asked.data_dir, compose("preprocess", [f"dataset={asked.dataset}"])["dataset"])
    results = []
    with tempfile.TemporaryDirectory(prefix="userrep-peers-") as folder:
        cache = asked.cache or Path(folder) / "environments"
        for contest in CONTESTS:
            if asked.only in (None, contest.peer):
                python = environment(contest.peer, cache)
                events = Path(folder) / str(contest.newest)
                if not events.exists():
                    export(data, events, contest.newest)
                for threads in asked.threads:
                    results += _compare(contest, python, events, threads, asked.turns)
    _show(results)
    target = asked.out or HERE.parent / "results" / f"peers-{asked.dataset}.json"
    report.write(target, report.conditions() | {"pins": PINS, "settings": COMMON, "results": results})
    return 0


def _compare(contest: Contest, python: Path, events: Path, threads: int, turns: int) -> list[dict[str, Any]]:
    settings = json.dumps(COMMON | contest.settings | {"threads": threads})
    theirs, ours = [], []
    for _ in range(turns):
        peer = _run(python, HERE / f"run_{contest.peer}.py", events, contest.model, settings, threads)
        own = _run(Path(sys.executable), HERE / "run_ours.py", events, contest.model, settings, threads)
        if peer["items"] != own["items"]:
            raise RuntimeError(f"{contest.peer} has {peer['items']} items, ours {own['items']}: not the same events")
        theirs.append(peer)
        ours.append(own)
    return [_result(contest, clock, threads, theirs, ours) for clock in contest.clocks]


def _result(
    contest: Contest, clock: str, threads: int, theirs: list[dict[str, Any]], ours: list[dict[str, Any]]
) -> dict[str, Any]:
    def rate(turn: dict[str, Any], kind: str) -> float:
        return float(turn["lists" if clock else "positions"] / turn[clock + kind])

    found: dict[str, Any] = {
        "peer": contest.peer, "model": contest.model, "threads": threads, "settings": contest.settings,
        "what": "lists of ten" if clock else "supervised positions", "turns": {"theirs": theirs, "ours": ours},
    }  # fmt: skip
    for kind in ("wall", "processor"):
        found[f"theirs_per_{kind}_second"] = median(rate(turn, kind) for turn in theirs)
        found[f"ours_per_{kind}_second"] = median(rate(turn, kind) for turn in ours)
        found[f"{kind}_ratio"] = median(rate(o, kind) / rate(t, kind) for o, t in zip(ours, theirs, strict=True))
    console.note(
        f"{contest.peer} {contest.model}, {found['what']}, {threads} thread(s): {found['wall_ratio']:.1f}x, "
        f"{found['processor_ratio']:.1f}x processor time"
    )
    return found


def _run(python: Path, script: Path, events: Path, model: str, settings: str, threads: int) -> dict[str, Any]:
    limits = {"OMP_NUM_THREADS": str(threads), "POLARS_MAX_THREADS": str(threads)}
    environment = {**os.environ, **limits, "PYTHONPATH": str(HERE.parent.parent)}
    if script.name != "run_ours.py":
        environment.pop("PYTHONPATH")
    command = [str(python), str(script), str(events), model, settings]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=events)
    if done.returncode:
        raise RuntimeError(f"{script.name}, {model}: {done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _show(results: list[dict[str, Any]]) -> None:
    columns = ["peer", "model", "what", "threads", "theirs / s", "ours / s", "ratio", "processor"]
    rows = [
        [
            r["peer"], r["model"], r["what"], r["threads"], round(r["theirs_per_wall_second"]),
            round(r["ours_per_wall_second"]), f"{r['wall_ratio']:.1f}x", f"{r['processor_ratio']:.1f}x",
        ]
        for r in results
    ]  # fmt: skip
    console.table("peers, per second of wall time", columns, rows)


if __name__ == "__main__":
    sys.exit(main())

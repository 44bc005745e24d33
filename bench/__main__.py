"""`python -m bench`: run the benchmarks, print a table, write a JSON file."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from bench import (
    batches,
    convergence,
    evaluation,
    heads,
    patches,
    preparation,
    protection,
    report,
    routing,
    tables,
    training,
)
from bench.case import Case
from bench.pairs import can_measure_memory, peak_memory, take_one_turn, take_turns
from bench.workspace import FULL, LONG, QUICK, Data, Size
from userrep import console
from userrep.run import provenance

GROUPS = (preparation, batches, training, tables, protection, patches, heads, routing, evaluation)
TOP = Path(__file__).resolve().parent
LIMIT = 1024  # MiB above the weights that an evaluation may take
COST = 1.10  # of a step of conure, in processor time, in plain steps
ROUTES = {"policy mean": 1.15, "policy conv": 1.45}  # of reading by routes, in plain readings
BUSY = 0.15  # share of the time spent waiting for a processor above which times are doubtful
SIDES = ("ours", "plain")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that were asked for; return the exit code."""
    asked = _parse(arguments)
    if asked.threads:
        _limit_threads(asked.threads)
    if asked.child:
        name, side, folder = asked.child
        print(json.dumps(_peak_here(name, side, Path(folder), asked.quick)))
        return 0
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="userrep-bench-") as folder:
        results = []
        for size in _sizes(asked.quick, asked.long):
            data = Data(size, Path(folder) / str(size.items))
            chosen = [case for case in _cases(data) if any(text in case.name for text in asked.only)]
            if chosen:
                data.make()
            for case in chosen:
                results.append(_measure(case, data, asked.quick, asked.seconds))
                console.note(_line(results[-1]))
    if not results:
        console.warn(
            f"no case is called {' or '.join(asked.only)}; cases are named group/items/detail, such as "
            "training step/3700/..."
        )
        return 2
    told = _report(results, time.perf_counter() - began)
    _show(told)
    target = asked.out or TOP / "results" / f"{'quick' if asked.quick else _machine_name()}.json"
    report.write(target, told)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, in some seconds: the numbers mean nothing")
    parser.add_argument("--long", action="store_true", help="also what takes an hour: 10M rows, training to a goal")
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="TEXT", help="only cases whose name holds one of these texts"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="how long a case may take turns, about")
    parser.add_argument("--out", type=Path, help="the JSON file; bench/results/<machine>.json")
    parser.add_argument("--threads", type=int, help="threads of torch and polars; as many as there are cores")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _limit_threads(threads: int) -> None:
    """Start again with limits in the environment: torch, numpy and polars read them when they are first imported."""
    limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS")}
    if any(os.environ.get(name) != value for name, value in limits.items()):
        os.execve(sys.executable, [sys.executable, "-m", "bench", *sys.argv[1:]], os.environ | limits)


def _sizes(quick: bool, long: bool) -> tuple[Size, ...]:
    return QUICK if quick else FULL + (LONG if long else ())


def _cases(data: Data) -> Iterator[Case]:
    size = data.size
    for group in (preparation,) if size.prepared_only else (convergence,) if size.chain else GROUPS:
        yield from group.cases(data)


def _measure(case: Case, data: Data, quick: bool, seconds: float) -> dict[str, Any]:
    """Measure peaks in other processes, then take turns in this one, which may keep the memory that it gets."""
    peaks = _peaks(case, data, quick)
    plain = case.plain() if case.plain else None
    if case.once and plain is not None:
        turns = take_one_turn(case.ours(), plain)
    else:
        turns = take_turns(case.ours(), plain, seconds, case.tolerance)
    return {
        "group": case.group,
        "items": case.items,
        "detail": case.detail,
        "ours_seconds": median(turn.wall for turn in turns.ours),
        "plain_seconds": median(turn.wall for turn in turns.plain) if turns.plain else None,
        "ratio": turns.ratio,
        "processor_ratio": turns.processor_ratio,
        "waiting": round(turns.waiting, 3),
        "turns": len(turns.ours),
        "same_result": case.tolerance is not None and case.plain is not None,
        "plain_left_out": case.refusal or None,
        **peaks,
    }


def _peaks(case: Case, data: Data, quick: bool) -> dict[str, float]:
    alone = case.plain is None
    if not (case.memory and data.size.memory and (alone or not quick) and can_measure_memory()):
        return {}
    sides = [side for side in SIDES if getattr(case, side) is not None]
    return {f"{side}_peak_mib": _peak_elsewhere(case, side, data, quick) for side in sides}


def _peak_elsewhere(case: Case, side: str, data: Data, quick: bool) -> float:
    command = [
        sys.executable,
        "-m",
        "bench",
        "--child",
        case.name,
        side,
        str(data.folder),
        *(["--quick"] if quick else []),
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TOP.parent), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{case.name}, {side}: {done.stderr[-2000:]}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def _peak_here(name: str, side: str, folder: Path, quick: bool) -> float:
    """Set one side of a case up and return the MiB that its work adds: weights and data are there before."""
    size = next(size for size in _sizes(quick, long=True) if str(size.items) == folder.name)
    case = next(case for case in _cases(Data(size, folder)) if case.name == name)
    work = getattr(case, side)()
    return peak_memory(work)


def _report(results: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    largest = [r for r in results if r["group"] == "evaluation" and r.get("ours_peak_mib")]
    peak = max((r["ours_peak_mib"] for r in largest), default=None)
    known = report.conditions()
    costs = [round(1 / r["processor_ratio"], 3) for r in results if r["group"] == protection.GROUP]
    return {
        **known,
        "versions": known["versions"] | {"pandas": version("pandas")},
        "seconds": round(seconds, 1),
        "evaluation_peak_mib": peak,
        "evaluation_within_limit": None if peak is None else peak < LIMIT,
        "conure_step_cost": max(costs, default=None),
        "routing_cost": {
            r["detail"].partition(",")[0]: round(1 / r["processor_ratio"], 3)
            for r in results
            if r["group"] == routing.GROUP
        },
        "results": results,
    }


def _line(result: dict[str, Any]) -> str:
    if result["ratio"] is None:
        return f"{_title(result)}: not compared"
    return f"{_title(result)}: {result['ratio']:.2f}x ({result['processor_ratio']:.2f}x processor time)"


def _title(result: dict[str, Any]) -> str:
    return f"{result['group']}, V={result['items']:,}, {result['detail']}"


def _show(told: dict[str, Any]) -> None:
    machine = told["machine"]
    title = f"{machine['cpu']}, {machine['threads']} threads, torch {told['versions']['torch']}"
    columns = ["", "items", "what", "ours s", "plain s", "plain / ours", "processor", "ours MiB", "plain MiB"]
    rows = [
        [
            r["group"], r["items"], r["detail"], r["ours_seconds"], r["plain_seconds"],
            _times(r["ratio"]), _times(r["processor_ratio"]), _mib(r, "ours"), _mib(r, "plain"),
        ]
        for r in told["results"]
    ]  # fmt: skip
    console.table(title, columns, rows)
    for r in told["results"]:
        if r["plain_left_out"]:
            console.note(f"plain way left out, {_title(r)}: {r['plain_left_out']}")
    busy = [r["waiting"] for r in told["results"] if r["waiting"] > BUSY]
    if busy:
        console.warn(
            f"others had the processor for up to {max(busy):.0%} of the time in {len(busy)} cases: "
            "trust the processor ratio there, or run again on a quiet machine"
        )
    cost = told["conure_step_cost"]
    if cost is not None:
        verdict = "within" if cost <= COST else "ABOVE"
        console.note(f"a step of conure costs up to {cost:.2f} plain steps of processor time: {verdict} {COST:.2f}")
    for policy, cost in told["routing_cost"].items():
        verdict = "within" if cost <= ROUTES[policy] else "ABOVE"
        console.note(f"routes by {policy} cost {cost:.2f} plain readings of processor time: {verdict} {ROUTES[policy]}")
    if told["evaluation_peak_mib"] is not None:
        verdict = "within" if told["evaluation_within_limit"] else "ABOVE"
        console.note(f"evaluation takes {told['evaluation_peak_mib']:,.0f} MiB above the weights: {verdict} {LIMIT:,}")


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1f}x"


def _mib(result: dict[str, Any], side: str) -> int | None:
    peak = result.get(f"{side}_peak_mib")
    return None if peak is None else round(peak)


def _machine_name() -> str:
    """Name the kind of machine: processor and threads."""
    cpu = "".join(letter if letter.isalnum() else "-" for letter in provenance.machine()["cpu"].lower()).strip("-")
    return f"{cpu}-{torch.get_num_threads()}t"


if __name__ == "__main__":
    sys.exit(main())

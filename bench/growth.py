"""`python -m bench.growth`: how a step's time and memory grow with items and length, beside the machine's limits."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from bench import report
from bench.limits import moved, multiplied
from bench.pairs import Work, can_measure_memory, peak_memory
from userrep import console
from userrep.evaluation.ranking import DotScorer, count_above
from userrep.models.encoder import Encoder
from userrep.models.nextitnet import NextItNet
from userrep.models.sasrec import SasRec
from userrep.objectives.item_loss import item_loss
from userrep.sequences.vocab import RESERVED

TOP = Path(__file__).resolve().parent
PICTURE = TOP.parent / "docs" / "pictures" / "growth.png"
ITEMS, LENGTHS = (3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000), (20, 50, 100, 200)
WIDTH, USERS, RANKED, NEGATIVES, DILATIONS = 64, 32, 512, 1024, (1, 4) * 4
TURNS = 2
Point = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, or draw what was measured; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--draw", action="store_true", help="only draw the JSON file (needs matplotlib)")
    parser.add_argument("--out", type=Path, default=TOP / "results" / "growth.json")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.peak:
        kind, size = asked.peak
        print(peak_memory(_work(kind, int(size))[0]))
        return 0
    if asked.draw:
        from bench.growth_picture import draw

        draw(asked.out, asked.picture)
        return 0
    limits = {"gflops": multiplied(), "gigabytes": moved()}
    console.note(f"this machine: {limits['gflops']:.0f} GFLOP/s, {limits['gigabytes']:.0f} GB/s")
    points = [
        _point(kind, size, limits["gflops"])
        for kinds, sizes in ((BY_ITEMS, ITEMS), (BY_LENGTH, LENGTHS))
        for kind in kinds
        for size in (sizes[:2] if asked.quick else sizes)
    ]
    report.write(asked.out, report.conditions() | {"limits": limits, "points": points})
    return 0


def _point(kind: str, size: int, gflops: float) -> Point:
    """Measure one size: processor time of a call over all threads, what it multiplies, its peak of memory."""
    work, multiplications = _work(kind, size)
    work()
    taken = []
    for _ in range(TURNS):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    seconds = median(taken)
    share = 2e-9 * multiplications / seconds / (gflops / torch.get_num_threads())
    point: Point = {"kind": kind, "size": size, "seconds": seconds, "share": share, "peak_mib": _peak(kind, size)}
    console.note(f"{kind}, {size:,}: {seconds:.3f} s, {share:.0%} of the products' limit, {point['peak_mib']} MiB")
    return point


def _peak(kind: str, size: int) -> float | None:
    if not can_measure_memory():
        return None
    command = [sys.executable, "-m", "bench.growth", "--peak", kind, str(size)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TOP.parent), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return round(float(done.stdout.splitlines()[-1]), 1)


def _work(kind: str, size: int) -> tuple[Work, float]:
    torch.manual_seed(0)
    return (BY_ITEMS | BY_LENGTH)[kind](size)


def _loss(name: str, items: int) -> tuple[Work, float]:
    """One loss with its gradients of USERS x 20 states, untied; three products for each pair of state and item."""
    states = torch.randn(USERS * 20, WIDTH, requires_grad=True)
    table = (0.02 * torch.randn(items + RESERVED, WIDTH)).requires_grad_()
    targets, draws = torch.randint(RESERVED, items, (len(states),)), torch.Generator().manual_seed(0)
    loss = item_loss(name, NEGATIVES, "frequency")
    loss.prepare(np.ones(items + RESERVED))

    def work() -> float:
        states.grad = table.grad = None
        value = loss(states, table, None, targets, draws)
        value.backward()
        return float(value.detach())

    scored = items if name == "full" else NEGATIVES
    return work, 3.0 * len(states) * scored * WIDTH


def _ranking(items: int) -> tuple[Work, float]:
    scorer = DotScorer(torch.randn(RANKED, WIDTH), torch.randn(items + RESERVED, WIDTH))
    targets = np.random.default_rng(0).integers(RESERVED, items, size=RANKED)
    return lambda: float(count_above(scorer, targets, None, items + RESERVED)[0].sum()), float(RANKED * items * WIDTH)


def _step(encoder: Encoder, length: int, products: float) -> tuple[Work, float]:
    """The states of a batch and their gradients; three products for each of the forward pass."""
    items = torch.randint(RESERVED, 3_000, (USERS, length))
    encoder.train()

    def work() -> float:
        encoder.zero_grad()
        value = encoder(items).square().mean()
        value.backward()
        return float(value.detach())

    return work, 3.0 * USERS * length * products


def _nextitnet(length: int) -> tuple[Work, float]:
    """Taps that read padding are not counted: they need not be computed."""
    shifts = [tap * rate * twice for rate in DILATIONS for twice in (1, 2) for tap in range(3)]
    taps = sum(max(0, length - shift) for shift in shifts) / length
    return _step(NextItNet(3_000, WIDTH, DILATIONS), length, taps * WIDTH**2)


def _sasrec(length: int) -> tuple[Work, float]:
    """Attention is counted over all pairs of positions, twice: scores, and what they weigh."""
    return _step(SasRec(3_000, WIDTH, 2, 2), length, 2 * (6 * WIDTH**2 + 2 * length * WIDTH))


BY_ITEMS: dict[str, Callable[[int], tuple[Work, float]]] = {
    "full softmax": partial(_loss, "full"), "sampled softmax": partial(_loss, "sampled"), "ranking": _ranking,
}  # fmt: skip
BY_LENGTH: dict[str, Callable[[int], tuple[Work, float]]] = {"NextItNet": _nextitnet, "SASRec": _sasrec}

if __name__ == "__main__":
    sys.exit(main())

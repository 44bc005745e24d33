"""The machine's limits: what it multiplies and moves at most, measured, to quote results against."""

import time
from collections.abc import Callable
from statistics import median

import torch

SIDE, FLOATS = 2048, 1 << 26  # 256 MiB: past every cache


def multiplied() -> float:
    """Return GFLOP/s of a large fp32 matrix product, over all threads."""
    left, right, out = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE), torch.empty(SIDE, SIDE)
    return 2e-9 * SIDE**3 / _seconds(lambda: torch.mm(left, right, out=out))


def moved() -> float:
    """Return GB/s of a large copy, what is read and what is written."""
    source, target = torch.randn(FLOATS), torch.empty(FLOATS)
    return 8e-9 * FLOATS / _seconds(lambda: target.copy_(source))


def _seconds(work: Callable[[], object], turns: int = 7) -> float:
    """Return the processor time of one call by a thread, or the wall time where there are several."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    work()
    taken = []
    for _ in range(turns):
        began = clock()
        work()
        taken.append(clock() - began)
    return median(taken)

"""Precision: whether matrix products are made in bfloat16; asked for, or probed on the device that will make them."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

from userrep.errors import ConfigError

Precision = Callable[[], AbstractContextManager[None]]
FP32, BF16 = "fp32", "bf16"

ROWS = 4096  # of the probe: a batch of 64 users with 64 events
FASTER = 1.25  # times faster, from which bfloat16 pays for its three digits


def precision(asked: str, device: torch.device, width: int) -> tuple[str, Precision, str]:
    """Return the name of what a forward pass runs in, its context, and a sentence on it; `asked` may be auto.

    Weights, optimiser state, norms and losses stay in fp32: autocast turns the inputs of products alone. Reported
    metrics are always made in fp32.

    Raises ConfigError where bf16 is asked for and the device has none.
    """
    if asked == FP32:
        return FP32, nullcontext, ""
    able = has_bfloat16(device)
    if asked == BF16:
        if not able:
            raise ConfigError(f"trainer.precision=bf16, and {device} has no bfloat16", "set trainer.precision=fp32")
        return BF16, _autocast(device), "precision: bf16, as asked for"
    if not able:
        return FP32, nullcontext, f"precision: fp32, since {device} has no bfloat16"
    gain = measured_gain(device, width)
    why = f"since bf16 is {gain:.2f} times as fast at width {width} here"
    if gain < FASTER:
        return FP32, nullcontext, f"precision: fp32, {why}"
    return BF16, _autocast(device), f"precision: bf16, {why}; fp32 can be forced"


def settled(asked: str, before: str | None, device: torch.device) -> str:
    """Return what to ask for: of auto, what a run has begun in, where the device can."""
    can = before == FP32 or (before == BF16 and has_bfloat16(device))
    return before if asked == "auto" and before is not None and can else asked


def _autocast(device: torch.device) -> Precision:
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16)


def has_bfloat16(device: torch.device) -> bool:
    """Say whether a device multiplies in bfloat16 by itself, and does not only imitate it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as told:
            flags = next((line for line in told if line.startswith("flags")), "")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def measured_gain(device: torch.device, width: int, turns: int = 5) -> float:
    """Return how many times faster a product `(ROWS, D) (D, D)` is in bfloat16, turned there and back: some ms."""
    states, weight = torch.randn(ROWS, width, device=device), torch.randn(width, width, device=device)
    times: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(turns + 1):
        for low in times:
            began = time.perf_counter()
            with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=low):
                torch.relu(states @ weight)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn:  # the first turn warms up
                times[low].append(time.perf_counter() - began)
    return sorted(times[False])[turns // 2] / sorted(times[True])[turns // 2]

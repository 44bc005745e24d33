"""Precision: whether matrix products are made in bfloat16; asked for, or probed on the device that will make them."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

from userrep.errors import ConfigError

Precision = Callable[[], AbstractContextManager[None]]

ROWS = 4096  # of the probe: a batch of 64 users with 64 events
FASTER = 1.25  # times faster, from which bfloat16 pays for its three digits


def precision(asked: str, device: torch.device, width: int) -> tuple[Precision, str]:
    """Return what a forward pass runs in, and a sentence on it; `asked` is fp32, bf16 or auto.

    Weights, optimiser state, norms and losses stay in fp32: autocast turns the inputs of products alone. Reported
    metrics are always made in fp32.

    Raises ConfigError where bf16 is asked for and the device has none.
    """
    if asked == "fp32":
        return nullcontext, ""
    able = has_bfloat16(device)
    if asked == "bf16":
        if not able:
            raise ConfigError(f"trainer.precision=bf16, and {device} has no bfloat16", "set trainer.precision=fp32")
        return lambda: torch.autocast(device.type, dtype=torch.bfloat16), "precision: bf16, as asked for"
    if not able:
        return nullcontext, f"precision: fp32, since {device} has no bfloat16"
    gain = measured_gain(device, width)
    why = f"since bf16 is {gain:.2f} times as fast at width {width} here"
    if gain < FASTER:
        return nullcontext, f"precision: fp32, {why}"
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16), f"precision: bf16, {why}; fp32 can be forced"


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

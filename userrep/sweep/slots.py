"""Slots: where trials may run at the same time, a GPU or a share of the processor each."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from userrep.errors import UsageError

VISIBLE = "CUDA_VISIBLE_DEVICES"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")


@dataclass(frozen=True)
class Slot:
    """A place for one trial at a time, and the environment variables that keep it there."""

    name: str
    environment: Mapping[str, str]


def visible_gpus() -> list[str]:
    """Return the GPUs of this process, each as CUDA_VISIBLE_DEVICES would name it; place N is `cuda:N`."""
    import torch

    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return named[:count] if named else [str(index) for index in range(count)]


def processor_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpu_slots(wanted: str, per_gpu: int, visible: Sequence[str]) -> list[Slot]:
    """Return `per_gpu` slots on each GPU of a list such as `0,1`, counted as `cuda:N` counts; `all` are all.

    The first slot of every GPU comes before the second of any.

    Raises:
        UsageError: a GPU is none, is not there, or is named twice.
    """
    count = len(visible)
    there = f"there are {count}: {', '.join(map(str, range(count)))}" if visible else "this torch sees none"
    names = [str(index) for index in range(len(visible))] if wanted == "all" else wanted.split(",")
    for name in map(str.strip, names):
        if not name.isdecimal():
            raise UsageError(f"--gpus {wanted}: {name!r} is no number of a GPU", "write --gpus 0,1 or --gpus all")
        if int(name) >= len(visible):
            raise UsageError(f"--gpus {wanted}: there is no GPU {name}; {there}", _remedy(visible))
    places = [int(name) for name in names]
    if not places:
        raise UsageError(f"--gpus {wanted}: {there}", _remedy(visible))
    if len(set(places)) < len(places):
        raise UsageError(f"--gpus {wanted} names a GPU twice", "give --jobs-per-gpu for several trials on one")
    return [Slot(f"gpu {place}", {VISIBLE: visible[place]}) for _ in range(per_gpu) for place in places]


def _remedy(visible: Sequence[str]) -> str:
    return "name one of them" if visible else "leave --gpus out and give --jobs for trials on the processor"


def with_threads(slots: Sequence[Slot], cores: int, given: Mapping[str, str]) -> list[Slot]:
    """Share the cores out among slots; variables that were given stay, and a lone slot has all there are."""
    if len(slots) == 1:
        return list(slots)
    share = str(max(1, cores // len(slots)))
    threads = {name: share for name in THREADS if name not in given}
    return [Slot(slot.name, {**slot.environment, **threads}) for slot in slots]


def processor_slots(jobs: int) -> list[Slot]:
    """Return slots for so many trials at once; they see what GPUs this process sees."""
    return [Slot(f"job {number}", {}) for number in range(1, jobs + 1)]

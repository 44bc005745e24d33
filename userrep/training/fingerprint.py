"""Fingerprints: what a module computes with and what it answers, short enough to keep."""

import hashlib
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from userrep.run import provenance

SAMPLED = (16, 32)  # rows and columns of logits that are kept as numbers


def tensors_read(module: nn.Module) -> dict[str, Tensor]:
    """Return the state of a module as it is read: each parametrised weight as its parametrisations give it."""
    state = {name: tensor for name, tensor in module.state_dict().items() if "parametrizations" not in name.split(".")}
    for path, part in module.named_modules():
        if parametrize.is_parametrized(part):
            assert isinstance(part.parametrizations, nn.ModuleDict)
            state |= {f"{path}.{name}".lstrip("."): getattr(part, name) for name in part.parametrizations}
    return state


def tensor_hash(tensor: Tensor) -> str:
    """Return the sha256 of `dtype|shape|` and the elements' little-endian bytes, in memory order of a plain tensor."""
    flat = tensor.detach().cpu().contiguous().flatten()
    elements = flat.view(torch.uint8).numpy().reshape(len(flat), flat.element_size())
    if sys.byteorder == "big":
        elements = np.ascontiguousarray(elements[:, ::-1])
    found = hashlib.sha256(f"{str(tensor.dtype).removeprefix('torch.')}|{list(tensor.shape)}|".encode())
    found.update(elements.data)
    return found.hexdigest()


def hashes(tensors: dict[str, Tensor]) -> dict[str, str]:
    """Return the hash of each tensor, in the order of their names."""
    return {name: tensor_hash(tensors[name]) for name in sorted(tensors)}


def logits_fingerprint(logits: Tensor) -> dict[str, Any]:
    """Return shape and hash of logits `(B, K)`, and a few of them, evenly spaced, that JSON gives back exactly."""
    rows, width = SAMPLED
    columns = np.unique(np.linspace(0, logits.shape[1] - 1, min(width, logits.shape[1])).astype(int))
    values = logits[:rows, torch.from_numpy(columns)].double().tolist()  # a float32 is a float64 exactly
    return {
        "shape": list(logits.shape), "sha256": tensor_hash(logits), "columns": columns.tolist(), "values": values
    }  # fmt: skip


def difference(recorded: dict[str, Any], found: dict[str, Any]) -> float:
    """Return by how much sampled logits differ at most, as a share of the largest recorded one where that is above 1.

    Infinity where they are not of the same cells.
    """
    if (recorded["shape"], recorded["columns"]) != (found["shape"], found["columns"]):
        return float("inf")
    try:
        before, now = (np.array(each["values"], dtype=np.float64) for each in (recorded, found))
    except (ValueError, TypeError):  # what was recorded is no table of numbers
        return float("inf")
    if before.shape != now.shape:
        return float("inf")
    gap = float(np.abs(before - now).max() / max(1.0, float(np.abs(before).max())))
    return gap if np.isfinite(gap) else float("inf")


def environment() -> dict[str, Any]:
    """Return what the last bits of a number depend on, for computations on the processor."""
    return {
        "userrep": provenance.versions()["userrep"],
        "torch": str(torch.__version__),
        "cpu": provenance.machine()["cpu"],
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": "cpu",
    }

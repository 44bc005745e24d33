"""Tenrec's NextItNet and PeterRec (yuangh-x/2022-NIPS-Tenrec, PyTorch).

Row 0 of the item table is padding. The published code lets the biases at padded positions reach real ones; here
padding is silenced. States equal the published ones of a sequence without padding, and stay so however much of it
precedes the sequence.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from userrep.errors import UsageError
from userrep.interop.source import Converted, Source

BOTTLENECK = 4  # width / bottleneck
# A block's halves: our name, then theirs of its convolution, norm and patch.
HALVES = {"first": ("conv1", "ln1", "mp1"), "second": ("conv2", "ln2", "mp2")}
PATCHES = {
    "_target_": "userrep.methods.peterrec.PeterRec",
    "insertion": "d",
    "ratio": BOTTLENECK,
    "activation": "leaky_relu",
    "skip": False,
    "zero_init": False,
}


def nextitnet(source: Source, shape: Mapping[str, Any]) -> Converted:
    """Translate a NextItNet: residual blocks of kind (b), an own output layer with bias."""
    return _convert(source, shape, patched=False)


def peterrec(source: Source, shape: Mapping[str, Any]) -> Converted:
    """Translate a PeterRec: the same with two parallel patches a block, no skip, LeakyReLU, width D / 4."""
    return _convert(source, shape, patched=True)


def _convert(source: Source, shape: Mapping[str, Any], patched: bool) -> Converted:
    table = source.take("item_embedding.weight", None, None)
    width = table.shape[1]
    kernel_size = source.take("residual_blocks.0.conv1.weight", width, width, 1, None).shape[-1]
    dilations = _dilations(source, shape, kernel_size)
    encoder = {"stem.table.weight": table}
    for block in range(len(dilations)):
        for half, (conv, norm, patch) in HALVES.items():
            theirs, ours = f"residual_blocks.{block}.", f"blocks.{block}.branch.{half}."
            op = f"{ours}op.inner." if patched else f"{ours}op."
            encoder |= _conv(source, f"{theirs}{conv}.", op, width, kernel_size)
            encoder |= _pair(source, f"{theirs}{norm}.", f"{ours}norm.", width)
            if patched:
                encoder |= _patch(source, f"{theirs}{patch}.", f"{ours}op.patch.", width)
    model = {
        "_target_": "userrep.models.nextitnet.NextItNet",
        "width": width,
        "dilations": dilations,
        "kernel_size": kernel_size,
        "dropout": 0.0,
        "final_norm": False,
    }
    head = _head(source, len(table), width)
    return Converted(model, dict(PATCHES) if patched else None, len(table), encoder, head)


def _conv(source: Source, theirs: str, ours: str, width: int, kernel_size: int) -> dict[str, Tensor]:
    weight = source.take(f"{theirs}weight", width, width, 1, kernel_size).squeeze(2)  # (D, D, k)
    return {f"{ours}weight": weight, f"{ours}bias": source.take(f"{theirs}bias", width)}


def _pair(source: Source, theirs: str, ours: str, width: int) -> dict[str, Tensor]:
    return {f"{ours}{name}": source.take(f"{theirs}{name}", width) for name in ("weight", "bias")}


def _patch(source: Source, theirs: str, ours: str, width: int) -> dict[str, Tensor]:
    """Translate two convolutions of kernel 1, (out, in, 1), into projections (out, in)."""
    narrow, found = width // BOTTLENECK, {}
    for layer, projection, sizes in (("conv1", "down", (narrow, width)), ("conv2", "up", (width, narrow))):
        found[f"{ours}{projection}.weight"] = source.take(f"{theirs}{layer}.weight", *sizes, 1).squeeze(2)
        found[f"{ours}{projection}.bias"] = source.take(f"{theirs}{layer}.bias", sizes[0])
    return found


def _head(source: Source, rows: int, width: int) -> dict[str, Tensor]:
    """Return the output layer where it scores the item table's rows; one over other classes is left."""
    if "final_layer.weight" not in source.tensors:
        return {}
    weight = source.take("final_layer.weight", None, width)
    bias = source.take("final_layer.bias", len(weight))
    return {"table": weight, "bias": bias} if len(weight) == rows else {}


def _dilations(source: Source, shape: Mapping[str, Any], kernel_size: int) -> list[int]:
    """Return the blocks' rates, which no tensor tells, `shape` checked against what tensors do tell."""
    unknown = [key for key in shape if key not in ("dilations", "kernel_size")]
    if unknown:
        raise UsageError(f"{source.kind} has no shape '{unknown[0]}'", "it takes dilations=[...] and kernel_size=")
    given, count = shape.get("dilations"), source.count("residual_blocks")
    if given is None:
        raise UsageError(f"no tensor of a {source.kind} checkpoint tells its dilations", _one_each(count))
    rates = list(given) if isinstance(given, (Sequence, np.ndarray)) and not isinstance(given, str) else []
    if len(rates) != count or not all(isinstance(rate, (int, np.integer)) and rate > 0 for rate in rates):
        raise UsageError(f"dilations are {given!r}, the checkpoint has {count} blocks", _one_each(count))
    if shape.get("kernel_size", kernel_size) != kernel_size:
        raise UsageError(f"kernel_size is {shape['kernel_size']}, the checkpoint's {kernel_size}", "leave it out")
    return [int(rate) for rate in rates]


def _one_each(count: int) -> str:
    return f"give {count} rates, one a block (its second convolution has twice that): dilations=[1,4,...]"

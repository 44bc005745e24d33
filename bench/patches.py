"""Patches: a training step of peterrec against one of the same frozen network with patches of plain Linear layers."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from bench.case import Case
from bench.pairs import Work
from bench.training import DILATIONS, draw_batch, steps_on
from bench.workspace import Data
from userrep.methods.peterrec import PeterRec
from userrep.methods.surgery import train_only
from userrep.models.encoder import Encoder
from userrep.models.nextitnet import ConvUnit, NextItNet
from userrep.models.sublayer import Sublayer
from userrep.objectives.next_item import NextItem
from userrep.sequences.batches import Batch

GROUP = "patch step"
RATIO = 8


class Patched(Sublayer):
    """An operation with a bottleneck of two Linear layers behind it, written by hand."""

    def __init__(self, inner: Sublayer, width: int) -> None:
        super().__init__()
        self.inner = inner
        self.down, self.up = nn.Linear(width, width // RATIO), nn.Linear(width // RATIO, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        inner = self.inner(states, keep)
        return (inner + self.up(torch.relu(self.down(inner)))) * keep


def cases(data: Data) -> Iterator[Case]:
    """Compare steps of next-item training in which patches alone train."""
    if data.size.patched is None:
        return
    users, length = data.size.patched
    ours, plain = (partial(_step, data, by_method) for by_method in (True, False))
    detail = f"NextItNet D={data.size.width}, B={users} T={length}"
    yield Case(GROUP, data.size.items, detail, ours, plain, tolerance=1e-4)


def _step(data: Data, by_method: bool) -> Work:
    assert data.size.patched is not None
    encoder, objective, shape = _network(data, by_method), NextItem(), data.size.patched
    batch = Batch(*draw_batch(data, shape, padded=False), torch.arange(shape[0]))
    return steps_on(encoder, objective, batch)


def _network(data: Data, by_method: bool) -> Encoder:
    torch.manual_seed(0)
    encoder: Encoder = NextItNet(data.prepared.sequences().vocab_size, data.size.width, DILATIONS)
    if by_method:
        method = PeterRec(ratio=RATIO)
        method.adapt(encoder, "last")
        train_only(encoder, method.trainable(encoder))
        return encoder
    encoder.requires_grad_(False)
    for unit in [module for module in encoder.modules() if isinstance(module, ConvUnit)]:
        unit.op = Patched(unit.op, data.size.width)
    return encoder

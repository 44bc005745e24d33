"""Routing: reading user vectors where each user passes each block by one of two sides, against one side for all."""

from collections.abc import Iterator
from functools import partial

import torch

from bench.case import Case
from bench.pairs import Work
from bench.training import draw_batch
from bench.workspace import Data
from userrep.methods.routed import routed
from userrep.methods.surgery import set_readout
from userrep.methods.uaf import UAF
from userrep.models.nextitnet import NextItNet

GROUP = "routed reading"
DILATIONS = [1, 4] * 4  # of the preset uaf_paper
READOUT = "mean"
SURE = 1.0  # deviation of the policy's last layer, so that users differ in their routes


def cases(data: Data) -> Iterator[Case]:
    """Compare hard routes by each policy, on the eight blocks of the preset, for the routed width of the size."""
    if data.size.routed is None:
        return
    users, length, width = data.size.routed
    for policy in ("mean", "conv"):
        ours, plain = (partial(_read, data, policy, by_policy) for by_policy in (True, False))
        detail = f"policy {policy}, D={width}, B={users} T={length}"
        yield Case(GROUP, data.size.items, detail, ours, plain, tolerance=1e-4)  # untrained sides are alike


def _read(data: Data, policy: str, by_policy: bool) -> Work:
    assert data.size.routed is not None
    users, length, width = data.size.routed
    torch.manual_seed(0)
    encoder = NextItNet(data.prepared.sequences().vocab_size, width, DILATIONS)
    items, _ = draw_batch(data, (users, length), padded=False)
    set_readout(encoder, READOUT)
    if by_policy:
        UAF(policy=policy).adapt(encoder, READOUT)
        loop = routed(encoder)
        assert loop is not None
        torch.nn.init.normal_(loop.policy.get_parameter("head.weight"), std=SURE)
    encoder.eval()

    def work() -> float:
        with torch.inference_mode():
            return float(encoder.user(items).square().mean())

    return work

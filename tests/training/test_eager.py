"""Eager optimisers: what torch's do, to the last bit, without its compiler in memory."""

import subprocess
import sys

import torch

from userrep.training.eager import AdamW

PROGRAM = """
import sys, torch
from userrep.training.eager import AdamW
from userrep.training.row_optimizers import LazyAdam
for kind in (AdamW, LazyAdam):
    weight = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = kind([weight])
    weight.square().sum().backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.zero_grad()
print("torch._dynamo" in sys.modules)
"""


def test_steps_are_those_of_torch_bit_for_bit() -> None:
    weights, states = [], []
    for kind in (AdamW, torch.optim.AdamW):
        draws = torch.Generator().manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(5, 3, generator=draws))
        optimizer = kind([{"params": [weight], "lr": 0.1, "weight_decay": 0.3}], fused=True)
        for _ in range(4):
            optimizer.zero_grad()
            (weight * torch.randn(5, 3, generator=draws)).square().sum().backward()
            optimizer.step()
        weights.append(weight.detach())
        states.append(optimizer.state_dict())
        assert not next(iter(optimizer.state.values()))["exp_avg"].requires_grad
    assert torch.equal(*weights)
    assert states[0]["param_groups"] == states[1]["param_groups"]
    for key, value in states[0]["state"][0].items():
        assert torch.equal(value, states[1]["state"][0][key])


def test_a_process_that_trains_loads_no_compiler() -> None:
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False"]

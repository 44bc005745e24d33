"""Eager optimisers: torch's own, without the guards that keep its compiler away from them.

The first guarded call loads all of `torch._dynamo`: two seconds of a core for each process that trains. What is
compiled here are blocks (`compiling.py`), never an optimiser.
"""

from inspect import unwrap

import torch


class Eager(torch.optim.Optimizer):
    """An optimiser whose methods are called as they are written."""

    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = unwrap(torch.optim.Optimizer.load_state_dict)


class AdamW(Eager, torch.optim.AdamW):
    """AdamW (Loshchilov and Hutter, ICLR 2019)."""

    step = torch.no_grad()(unwrap(torch.optim.AdamW.step))

"""Gradients that are made in the forward pass, while what they are made of is still there: what such losses share."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class ForwardGradients(torch.autograd.Function):
    """A mean loss whose forward pass leaves the gradients of its sum for its first inputs; the others have none."""

    @staticmethod
    def keep(ctx: Any, states: Tensor, loss: Tensor, *gradients: Tensor | None) -> Tensor:
        """Keep the gradients of a summed `loss` for the backward pass and return its mean over `states (N, D)`."""
        ctx.save_for_backward(*gradients)
        ctx.count = max(1, len(states))
        return (loss / ctx.count).to(states.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        scale = upstream / ctx.count
        scaled = [None if grad is None else grad * scale for grad in ctx.saved_tensors]
        return (*scaled, *[None] * (len(ctx.needs_input_grad) - len(scaled)))

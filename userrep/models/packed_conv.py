"""Dilated convolution of packed rows, as one matrix product a tap."""

from typing import Any

import torch
from torch import Tensor

from userrep.models.packing import Packing


def convolve(rows: Tensor, weight: Tensor, bias: Tensor, shifts: tuple[int, ...], packing: Packing) -> Tensor:
    """Convolve rows `(1, N, D)` with `weight (E, D, k)` and `bias (E,)`: tap j reads shifts[j] events back."""
    if torch.is_grad_enabled():
        convolved: Tensor = PackedConv.apply(rows, weight, bias, shifts, packing)
        return convolved
    return PackedConv.forward(rows, weight, bias, shifts, packing)  # recording costs as much as a small product


class PackedConv(torch.autograd.Function):
    """The convolution with its gradients written out: a tap is a product of the rows it reads and no others."""

    @staticmethod
    def forward(rows: Tensor, weight: Tensor, bias: Tensor, shifts: tuple[int, ...], packing: Packing) -> Tensor:
        out = bias.repeat(rows.shape[1], 1)  # (N, E)
        for tap, shift in zip(_taps(weight), shifts, strict=True):
            _add_product(out, rows[0], tap.t(), shift, packing)
        return out.unsqueeze(0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        rows, weight, _, ctx.shifts, ctx.packing = inputs
        ctx.save_for_backward(rows, weight)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        (rows, weight), (above,) = ctx.saved_tensors, upstream[0]  # above (N, E)
        needs_rows, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        below = torch.zeros_like(rows[0]) if needs_rows else None
        kernels = []
        for tap, shift in zip(_taps(weight), ctx.shifts, strict=True):
            if below is not None:
                _add_product(below, above, tap, -shift, ctx.packing)
            if needs_weight:
                read, reached = _read_and_reached(shift, ctx.packing)
                kernels.append(_take(above, reached).t() @ _take(rows[0], read))  # (E, D)
        return (
            None if below is None else below.unsqueeze(0),
            torch.stack(kernels, dim=2) if needs_weight else None,
            above.sum(dim=0) if needs_bias else None,
            None,
            None,
        )


def _add_product(out: Tensor, rows: Tensor, tap: Tensor, shift: int, packing: Packing) -> None:
    """Add to each row of `out` the product of `tap` and the row `shift` places before it, if there is one."""
    read, reached = _read_and_reached(shift, packing)
    if isinstance(reached, slice):
        out[reached].addmm_(_take(rows, read), tap)
    else:
        out.index_add_(0, reached, _take(rows, read) @ tap)


def _read_and_reached(shift: int, packing: Packing) -> tuple[Tensor | slice, Tensor | slice]:
    earlier, later = packing.pairs(abs(shift))
    return (earlier, later) if shift >= 0 else (later, earlier)


def _take(rows: Tensor, which: Tensor | slice) -> Tensor:
    if isinstance(which, slice):
        return rows[which]
    return rows.index_select(0, which)  # three times as fast as rows[which]


def _taps(weight: Tensor) -> tuple[Tensor, ...]:
    return weight.permute(2, 0, 1).contiguous().unbind(0)  # k of (E, D)

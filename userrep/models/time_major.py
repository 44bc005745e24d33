"""Dilated convolution as matrix products over time-major rows, which skips the taps that would read padding."""

from typing import Any

import torch
from torch import Tensor

SAVED = 0.19  # share of the tap rows that must fall outside of the sequence for this path to be taken


def pays(states: Tensor, shifts: tuple[int, ...]) -> bool:
    """Say whether taps that read `shifts` steps back run faster here than as a padded 2-d convolution.

    A tap that reads s steps back has min(s, T) of T rows outside of `states (B, T, D)`, and those are not computed
    here, while two transposes are paid for. Measured with norm and ReLU on one core of an EPYC (AVX2), torch 2.13, D
    from 64 to 256, B from 32 to 256: where that share is 0.6, the 2-d way takes 1.4-2.4 times as long in training and
    1.5-2.0 in reading; 0.4, 1.3-1.6 and 1.3-1.4; 0.32, 1.0-1.4 and 1.0-1.3; 0.2, 1.0-1.4 and 0.9-1.3; 0.16 and less,
    0.8-1.2 and 0.7-1.1, so there it is left. Width and batch matter little. Other devices and types were not measured,
    and what is traced or compiled keeps the operation that compilers know.
    """
    length = states.shape[1]
    if states.device.type != "cpu" or states.dtype not in (torch.float32, torch.float64):
        return False
    if torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return False
    return sum(min(abs(shift), length) for shift in shifts) >= SAVED * len(shifts) * length > 0


def convolve(states: Tensor, weight: Tensor, bias: Tensor, shifts: tuple[int, ...]) -> Tensor:
    """Convolve `states (B, T, D)` with `weight (E, D, k)` and `bias (E,)`: tap j of step t reads step t - shifts[j]."""
    if torch.is_grad_enabled():
        convolved: Tensor = TimeMajorConv.apply(states, weight, bias, shifts)
        return convolved
    return TimeMajorConv.forward(states, weight, bias, shifts)  # recording costs as much as a small product


class TimeMajorConv(torch.autograd.Function):
    """The convolution with its gradients written out.

    With rows ordered by time, then sequence, a tap is one product of whole rows, added in place to those it reaches.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(states: Tensor, weight: Tensor, bias: Tensor, shifts: tuple[int, ...]) -> Tensor:
        users, length, _ = states.shape
        rows = _by_time(states)  # (T B, D)
        out = bias + rows.new_zeros(len(rows), 1)  # (T B, E)
        for tap, shift in zip(_taps(weight), shifts, strict=True):
            source, reached = _overlap(shift * users, len(rows))
            out[reached].addmm_(rows[source], tap.t())
        return _by_user(out, users, length)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        states, weight, _, ctx.shifts = inputs
        ctx.save_for_backward(states, weight)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        states, weight = ctx.saved_tensors
        users, length, _ = states.shape
        needs_states, needs_weight, needs_bias, _ = ctx.needs_input_grad
        above = _by_time(upstream[0])  # (T B, E)
        rows = _by_time(states) if needs_weight else None
        below = above.new_zeros(len(above), states.shape[2]) if needs_states else None
        kernels = []
        for tap, shift in zip(_taps(weight), ctx.shifts, strict=True):
            source, reached = _overlap(shift * users, len(above))
            if below is not None:
                below[source].addmm_(above[reached], tap)
            if rows is not None:
                kernels.append(above[reached].t() @ rows[source])  # (E, D)
        return (
            None if below is None else _by_user(below, users, length),
            torch.stack(kernels, dim=2) if needs_weight else None,
            above.sum(dim=0) if needs_bias else None,
            None,
        )


def _by_time(states: Tensor) -> Tensor:
    return states.transpose(0, 1).flatten(0, 1)  # (B, T, D) -> (T B, D)


def _by_user(rows: Tensor, users: int, length: int) -> Tensor:
    return rows.unflatten(0, (length, users)).transpose(0, 1).contiguous()  # (T B, D) -> (B, T, D)


def _taps(weight: Tensor) -> tuple[Tensor, ...]:
    return weight.permute(2, 0, 1).contiguous().unbind(0)  # k of (E, D)


def _overlap(shift: int, rows: int) -> tuple[slice, slice]:
    """Return which rows a tap reads and which it reaches."""
    kept = max(0, rows - abs(shift))
    first = min(max(0, shift), rows), min(max(0, -shift), rows)
    return slice(first[1], first[1] + kept), slice(first[0], first[0] + kept)

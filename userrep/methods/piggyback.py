"""Piggyback: a learned mask over each frozen kernel, one bit a weight (Mallya et al., ECCV 2018)."""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from userrep.errors import ConfigError
from userrep.methods.method import Method
from userrep.methods.surgery import change_weight, kernels, names_of, weight_of
from userrep.models.encoder import Encoder


class _Through(torch.autograd.Function):
    """Let a weight pass where its score is above the threshold; the gradient passes the step as if it were not there.

    What is switched off is replaced, never multiplied, so that a NaN behind the mask reaches neither output nor score.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, score: Tensor, threshold: float) -> Tensor:
        on = score > threshold
        ctx.save_for_backward(weight, on)
        return torch.where(on, weight, 0.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (gradient,), (weight, on) = gradients, ctx.saved_tensors
        to_weight = torch.where(on, gradient, 0.0) if ctx.needs_input_grad[0] else None
        to_score = torch.where(weight.isfinite(), gradient * weight, 0.0) if ctx.needs_input_grad[1] else None
        return to_weight, to_score, None


class Switches(nn.Module):
    """A score for each element of a weight: above `threshold` the element is read, else zero; all start at `start`.

    `settle` leaves a score only two values, `start` and 0. Scores of these two values alone, which the untrained ones
    are too, are written as one bit each, eight to a byte; nothing is lost, so every state can be read back.
    """

    def __init__(self, weight: Tensor, threshold: float, start: float) -> None:
        super().__init__()
        self.threshold, self.start = threshold, start
        self.score = nn.Parameter(torch.full_like(weight, start))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with what is switched off set to zero, in the weight's own shape."""
        passed = _Through.apply(weight, self.score, self.threshold)
        assert isinstance(passed, Tensor)
        return passed

    @torch.no_grad()
    def settle(self) -> None:
        """Keep of every score which side of the threshold it is on."""
        self.score.copy_(self._values(self.score > self.threshold))

    def _values(self, on: Tensor) -> Tensor:
        return torch.full_like(self.score, self.start).where(on, 0.0)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        on = self.score.detach() > self.threshold
        if torch.equal(self.score.detach(), self._values(on).detach()):
            destination[prefix + "score"] = packed(on)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        held = state_dict.get(prefix + "score")
        if held is not None and held.dtype == torch.uint8 and held.shape == (_bytes(self.score.numel()),):
            state_dict[prefix + "score"] = self._values(unpacked(held, self.score.shape).to(self.score.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Piggyback(Method):
    """Learn which weights of the frozen block kernels a task reads, and its head; nothing else trains.

    threshold  a weight is read where its score is above
    start      of every score, above the threshold, so that at the start all weights are read. The distance in steps of
               `trainer.lr` is how soon a weight can be switched off
    """

    paper: ClassVar[str] = "Mallya et al., ECCV 2018"
    joint: ClassVar[str] = "weight"

    def __init__(self, threshold: float = 5e-3, start: float = 1e-2, table_rank: int = 0, stem_patch: int = 0) -> None:
        super().__init__(table_rank, stem_patch)
        if not 0 <= threshold < start < float("inf"):
            raise ConfigError(
                f"piggyback has threshold={threshold} start={start}",
                "give a threshold of at least 0 and a start above it: all weights are read at first",
            )
        self.threshold, self.start = threshold, start
        self.switches: list[Switches] = []  # its own: the encoder may have come with others

    def insert(self, encoder: Encoder) -> None:
        self.switches = []
        for name in kernels(encoder):
            switches = Switches(weight_of(encoder, name).detach(), self.threshold, self.start)
            change_weight(encoder, name, switches)
            self.switches.append(switches)

    def trainable(self, encoder: Encoder) -> tuple[str, ...]:
        return tuple(names_of(encoder, self.switches))

    def finish(self, encoder: Encoder) -> None:
        for switches in self.switches:
            switches.settle()


def packed(on: Tensor) -> Tensor:
    """Write flags of any shape eight to a byte, in memory order: `(ceil(N / 8),)` uint8 on the CPU."""
    return torch.from_numpy(np.packbits(on.cpu().numpy().reshape(-1)))


def unpacked(held: Tensor, shape: torch.Size) -> Tensor:
    """Read flags of a shape back from their bytes."""
    return torch.from_numpy(np.unpackbits(held.cpu().numpy(), count=shape.numel()).astype(bool)).view(shape)


def _bytes(count: int) -> int:
    return -(-count // 8)

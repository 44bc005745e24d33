"""Gates: how a policy's logits become a route, in training and when serving (UAF, TKDE 2021)."""

from typing import ClassVar

import torch
from torch import Tensor

TINY = 1e-7  # what a uniform draw keeps from 0 and 1
SEED = 0  # of what `samples` draws when serving


class Gates:
    """Decide from logits `(..., A, 2)`, channel 0 tuned and 1 frozen, what share of each block's tuned side is taken.

    temperature  of the relaxed choice that gradients pass; the schedule of training moves it
    squash       logits pass a sigmoid first, which keeps every chance between 0.27 and 0.73 (the published code)
    samples      serve by drawing too, with a fixed seed for each batch (the published code); else the likelier side

    `firm` says whether a share is 0 or 1 and nothing between.
    """

    firm: ClassVar[bool] = True

    def __init__(self, temperature: float, squash: bool, samples: bool) -> None:
        self.temperature, self.squash, self.samples = temperature, squash, samples

    def shares(self, logits: Tensor, training: bool) -> Tensor:
        """Return the route `(..., A)` in single precision; in training a draw, and gradients reach the logits."""
        raise TypeError(f"{type(self).__name__} must say how it decides")

    def chances(self, logits: Tensor) -> Tensor:
        """Return the chance of each block's tuned side, `(..., A)`."""
        return torch.sigmoid(self.margin(logits))

    def baseline(self, logits: Tensor) -> Tensor:
        """Return the route that a drawn one's reward is held against: the likelier side."""
        return likelier(self.margin(logits))

    def margin(self, logits: Tensor) -> Tensor:
        """Return by how much the tuned side is ahead, `(..., A)`; autocast would lose what noise is added to."""
        logits = at_least_single(logits)
        tuned, frozen = (torch.sigmoid(logits) if self.squash else logits).unbind(-1)
        return tuned - frozen

    def served(self, logits: Tensor) -> Tensor:
        """Return the route of the likelier side, of the frozen one where both are alike."""
        margin = self.margin(logits)
        if self.samples:
            margin = margin + logistic(margin, torch.Generator(margin.device).manual_seed(SEED))
        return likelier(margin)


class Hard(Gates):
    """One side or the other, drawn; the gradient is that of the relaxed draw (Gumbel-softmax, straight through).

    The difference of two Gumbel draws is logistic, so that one draw a block does for both channels.
    """

    def shares(self, logits: Tensor, training: bool) -> Tensor:
        if not training:
            return self.served(logits)
        margin = self.margin(logits)
        ahead = margin + logistic(margin)
        relaxed = torch.sigmoid(ahead / self.temperature)
        return (likelier(ahead) - relaxed).detach() + relaxed


class Soft(Gates):
    """A share of the tuned side, in training and in serving; channel 1 says nothing (the published code)."""

    firm: ClassVar[bool] = False

    def shares(self, logits: Tensor, training: bool) -> Tensor:
        return self.chances(logits)

    def chances(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(at_least_single(logits[..., 0]))


class Sampled(Hard):
    """One side or the other, drawn; no gradient passes, so that only a reward can teach the policy."""

    def shares(self, logits: Tensor, training: bool) -> Tensor:
        return super().shares(logits, training).detach()


class Tempered(Hard):
    """One side or the other, drawn from the relaxed draw again, as the published code does for its reward."""

    def shares(self, logits: Tensor, training: bool) -> Tensor:
        if not training:
            return self.served(logits)
        margin = self.margin(logits)
        relaxed = torch.sigmoid((margin + logistic(margin)) / self.temperature)
        drawn = torch.rand_like(relaxed) < relaxed
        return (drawn.to(relaxed.dtype) - relaxed).detach() + relaxed

    def baseline(self, logits: Tensor) -> Tensor:
        """Return a route that is drawn once, with the chances that the logits say."""
        margin = self.margin(logits)
        return likelier(margin + logistic(margin))


def likelier(ahead: Tensor) -> Tensor:
    """Return 1 where the tuned side is ahead, 0 where it is not, in the dtype of the margins."""
    return (ahead > 0).to(ahead.dtype)


def at_least_single(logits: Tensor) -> Tensor:
    """Return logits in single precision or better, in which noise and shares lose nothing that matters."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def logistic(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw from the logistic distribution, as many numbers as `like` has."""
    uniform = torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype).clamp_(TINY, 1 - TINY)
    return torch.logit(uniform)

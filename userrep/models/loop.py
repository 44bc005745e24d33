"""The loop over blocks: the joint of methods that choose, user by user, what passes a history on."""

from collections.abc import Iterable
from typing import ClassVar

from torch import Tensor, nn


class Loop(nn.Module):
    """Pass states through the blocks, one after the other, all users alike.

    A loop that chooses is asked first for a route: what is taken of the second side of each of A blocks, `(B, 1, A)`.
    With `each`, one for every step, `(B, T, A)`, from what stands at the step or before it, so that no state learns of
    later items through its route. None is the one way; `routes` says whether there is another.
    """

    routes: ClassVar[bool] = False

    def decide(self, items: Tensor, stem: Tensor, keep: Tensor, each: bool) -> Tensor | None:
        """Return the route of histories `items (B, T)` with stem states `(B, T, D)`; a token is not among them."""
        return None

    def forward(self, blocks: Iterable[nn.Module], states: Tensor, keep: Tensor, route: Tensor | None) -> Tensor:
        """Map states `(B, S, D)` of steps and tokens, or packed rows of these (packing.py), to states of that shape."""
        for block in blocks:
            states = block(states, keep)
        return states

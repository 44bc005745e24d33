"""The unit of surgery: a module that maps states to states and never moves padding."""

from typing import ClassVar

from torch import Tensor, nn


class Sublayer(nn.Module):
    """Map states to states at every kept position.

    `forward(states (B, T, D), keep (B, T, 1)) -> (B, T, D)`, where `keep` is 1 at real positions, 0 at padding.
    Anything with this signature can be wrapped by anything else with it, which is how patches attach.

    packs   takes packed rows too (packing.py): events of all users as one history, `(1, N, D)`, which whoever mixes
            events must tell apart; where any sublayer of an encoder does not, none is given them
    """

    packs: ClassVar[bool] = False

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} must say how it maps states (B, T, D) to states")

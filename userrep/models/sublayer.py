"""The unit of surgery: a module that maps states to states and never moves padding."""

from torch import Tensor, nn


class Sublayer(nn.Module):
    """Map states to states at every kept position.

    `forward(states (B, T, D), keep (B, T, 1)) -> (B, T, D)`, where `keep` is 1 at real positions, 0 at padding.
    Rows that are packed (packing.py) come as one history without padding, `(1, N, D)` and `(1, N, 1)`.
    Anything with this signature can be wrapped by anything else with it, which is how patches attach.
    """

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} must say how it maps states (B, T, D) to states")

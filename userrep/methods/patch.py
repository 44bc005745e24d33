"""Patches: small bottlenecks beside or behind a frozen sublayer (PeterRec, section 3.3)."""

from torch import Tensor, nn

from userrep.errors import ConfigError
from userrep.models.sublayer import Sublayer

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "leaky_relu": nn.LeakyReLU}


class Patch(nn.Module):
    """`[x +] up(phi(down(x)))` at each position, bottleneck `b`; 2 D b + b + D parameters (spec 3.4).

    With `zero_init` the up-projection starts at zero, so that a patch with its own skip starts as the identity and one
    without starts as zero.
    """

    def __init__(self, width: int, bottleneck: int, activation: str, skip: bool, zero_init: bool) -> None:
        super().__init__()
        if bottleneck < 1:
            raise ConfigError(f"a patch of width {bottleneck} is empty", "give a smaller ratio: width / ratio >= 1")
        if activation not in ACTIVATIONS:
            raise ConfigError(f"no activation '{activation}'", f"choose from {', '.join(ACTIVATIONS)}")
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        self.activation = ACTIVATIONS[activation]()
        self.skip = skip
        if zero_init:
            nn.init.zeros_(self.up.weight)
            nn.init.zeros_(self.up.bias)

    def forward(self, states: Tensor) -> Tensor:
        """Map states `(B, T, D)` to `(B, T, D)`."""
        change = self.up(self.activation(self.down(states)))
        return states + change if self.skip else change


class Serial(Sublayer):
    """A sublayer with a patch behind it: `patch(inner(x))`."""

    packs = True

    def __init__(self, inner: Sublayer, patch: Patch) -> None:
        super().__init__()
        self.inner, self.patch = inner, patch

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        return self.patch(self.inner(states, keep)) * keep


class Parallel(Sublayer):
    """A sublayer with a patch beside it: `inner(x) + patch(x)`."""

    packs = True

    def __init__(self, inner: Sublayer, patch: Patch) -> None:
        super().__init__()
        self.inner, self.patch = inner, patch

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        return (self.inner(states, keep) + self.patch(states)) * keep


class StemPatch(nn.Module):
    """A patch with its own skip on the item vectors, before the first block."""

    def __init__(self, patch: Patch) -> None:
        super().__init__()
        self.patch = patch

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        """Map stem states `(B, T, D)`; the stem silences padding afterwards."""
        return self.patch(states)


def count_parameters(width: int, bottleneck: int) -> int:
    """Return a patch's parameter count, 2 D b + b + D."""
    return 2 * width * bottleneck + bottleneck + width

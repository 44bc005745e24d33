"""PeterRec: patches inside a frozen encoder (Yuan et al., SIGIR 2020)."""

from typing import ClassVar

from torch import nn

from userrep.errors import ConfigError
from userrep.methods.method import Method
from userrep.methods.patch import Parallel, Patch, Serial
from userrep.methods.surgery import names_of, norms, sublayers, wrap
from userrep.models.encoder import Encoder
from userrep.models.sublayer import Sublayer

# Figure 3 of the paper: which sublayers a patch joins, and how.
INSERTIONS: dict[str, tuple[str, type[Serial] | type[Parallel]]] = {
    "b": ("op", Serial),
    "c": ("branch", Serial),
    "d": ("op", Parallel),
    "e": ("unit", Parallel),
}
NORMS = ("none", "second", "all")


class PeterRec(Method):
    """Train patches, the task token and the head; freeze the rest.

    insertion    b: behind each op; c: behind each branch; d: beside each op; e: beside each unit (the paper's bad one)
    ratio        width / bottleneck: 8 in the paper, 4 in the published code
    skip         the patch's own skip, as in the paper; a parallel patch with one is not the identity at the start
    norms        norms that train too: none (paper), second, each block's last (published code), or all
    last_blocks  patch only this many blocks, counted from the top
    """

    paper: ClassVar[str] = "Yuan et al., SIGIR 2020"
    joint: ClassVar[str] = "sublayer"

    def __init__(
        self,
        insertion: str = "b",
        ratio: int = 8,
        activation: str = "relu",
        skip: bool = True,
        zero_init: bool = True,
        norms: str = "none",
        last_blocks: int | None = None,
        table_rank: int = 0,
        stem_patch: int = 0,
    ) -> None:
        super().__init__(table_rank, stem_patch)
        if insertion not in INSERTIONS:
            raise ConfigError(f"peterrec has no insertion '{insertion}'", f"choose from {', '.join(INSERTIONS)}")
        if norms not in NORMS:
            raise ConfigError(f"peterrec cannot train norms '{norms}'", f"choose from {', '.join(NORMS)}")
        if ratio < 1:
            raise ConfigError(f"peterrec's ratio is {ratio}", "give a whole number of at least 1: width / bottleneck")
        self.role, self.wrapper = INSERTIONS[insertion]
        self.ratio, self.activation, self.skip, self.zero_init = ratio, activation, skip, zero_init
        self.norms, self.last_blocks = norms, last_blocks
        self.trained_norms: list[nn.Module] = []
        self.patches: list[nn.Module] = []  # its own: the encoder may have come with others
        self.identity_at_start = zero_init and not (skip and self.wrapper is Parallel)

    def insert(self, encoder: Encoder) -> None:
        self.patches = []
        self.trained_norms = [] if self.norms == "none" else norms(encoder, last_only=self.norms == "second")

        def patched(inner: Sublayer) -> Sublayer:
            patch = Patch(encoder.width, encoder.width // self.ratio, self.activation, self.skip, self.zero_init)
            self.patches.append(patch)
            return self.wrapper(inner, patch)

        wrap(encoder, sublayers(encoder, self.role, self.last_blocks), patched)

    def trainable(self, encoder: Encoder) -> tuple[str, ...]:
        return tuple(names_of(encoder, [*self.patches, *self.trained_norms]))

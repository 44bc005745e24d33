"""The tuned side of each block: a whole copy, patches inside it, or low-rank changes of its kernels."""

from collections.abc import Iterable
from copy import deepcopy

from torch import Tensor, nn
from torch.func import functional_call

from userrep.methods.lora import LowRank
from userrep.methods.patch import Patch, Serial
from userrep.methods.surgery import kernels, original_of, sublayers, wrap
from userrep.models.encoder import Encoder
from userrep.models.sublayer import Sublayer


class Tuned(nn.Module):
    """What a block's tuned side is made of; it equals the frozen side until it is trained."""

    def run(self, index: int, block: nn.Module, states: Tensor, keep: Tensor) -> Tensor:
        """Map states `(B, S, D)` as the tuned side of block `index` does, whose frozen side is `block`."""
        raise TypeError(f"{type(self).__name__} must run its side")

    def trained(self) -> Iterable[nn.Module]:
        """Return the modules that train."""
        return [self]


class Copies(Tuned):
    """A copy of every block (the paper): twice the blocks are stored."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.copies = nn.ModuleList(deepcopy(block) for block in encoder.blocks)

    def run(self, index: int, block: nn.Module, states: Tensor, keep: Tensor) -> Tensor:
        return self.copies[index](states, keep)


class LowRanks(Tuned):
    """The block with a low-rank change beside each of its kernels (LoRA)."""

    def __init__(self, encoder: Encoder, rank: int, alpha: float) -> None:
        super().__init__()
        self.names: list[list[str]] = [[] for _ in encoder.blocks]  # of each block's kernels, within the block
        self.changes = nn.ModuleList(nn.ModuleList() for _ in encoder.blocks)
        for kernel in kernels(encoder):
            name, weight = original_of(encoder, kernel)
            _, index, own = name.split(".", 2)
            changes = self.changes[int(index)]
            assert isinstance(changes, nn.ModuleList)
            changes.append(LowRank(weight, rank, alpha / rank))
            self.names[int(index)].append(own)

    def run(self, index: int, block: nn.Module, states: Tensor, keep: Tensor) -> Tensor:
        changes = self.changes[index]
        assert isinstance(changes, nn.ModuleList)
        pairs = zip(self.names[index], changes, strict=True)
        weights = {name: change(block.get_parameter(name)) for name, change in pairs}
        return functional_call(block, weights, (states, keep))


class Patched(Sublayer):
    """A sublayer with a patch behind it that is passed by where `side.on` is false."""

    packs = True

    def __init__(self, inner: Sublayer, patch: Patch, side: "Side") -> None:
        super().__init__()
        self.patched, self.side = Serial(inner, patch), side

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        return self.patched(states, keep) if self.side.on else self.patched.inner(states, keep)


class Side:
    """Which side of the blocks runs: the tuned one where `on`."""

    on = False


class Patches(Tuned):
    """The block with a patch behind each op (PeterRec's insertion b): it shares all weights of the frozen side."""

    def __init__(self, encoder: Encoder, ratio: int) -> None:
        super().__init__()
        self.side = Side()
        self.patches: list[nn.Module] = []  # they stand in the blocks, which name their parameters

        def patched(inner: Sublayer) -> Sublayer:
            patch = Patch(encoder.width, encoder.width // ratio, "relu", skip=True, zero_init=True)
            self.patches.append(patch)
            return Patched(inner, patch, self.side)

        wrap(encoder, sublayers(encoder, "op"), patched)

    def run(self, index: int, block: nn.Module, states: Tensor, keep: Tensor) -> Tensor:
        self.side.on = True
        try:
            return block(states, keep)
        finally:
            self.side.on = False

    def trained(self) -> Iterable[nn.Module]:
        return self.patches


TUNED = ("copy", "patch", "lora")


def make_tuned(name: str, encoder: Encoder, ratio: int, rank: int, alpha: float) -> Tuned:
    """Make the tuned side of all blocks of an encoder; patches are put into its blocks."""
    if name == "patch":
        return Patches(encoder, ratio)
    return LowRanks(encoder, rank, alpha) if name == "lora" else Copies(encoder)

"""NextItNet: a causal stack of dilated convolutions with residual blocks of two (Yuan et al., WSDM 2019)."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from userrep.errors import ConfigError
from userrep.models.dropout import Dropout
from userrep.models.encoder import Block, Encoder, Final
from userrep.models.packed_conv import convolve
from userrep.models.packing import packing_of
from userrep.models.stem import ItemStem, truncated_normal_
from userrep.models.sublayer import Sublayer


class DilatedConv(Sublayer):
    """Convolve over time so that position t reads t, t - rate, ..., t - (k - 1) rate and nothing later.

    Where `causal` is false the taps are centred on t; of an even number, one more is later, as SAME padding has it.
    Of packed rows, the taps that would read padding are left out.
    """

    packs = True

    def __init__(self, width: int, kernel_size: int, rate: int, causal: bool = True) -> None:
        super().__init__()
        self.rate = rate
        reach = (kernel_size - 1) * rate
        self.later = 0 if causal else reach - reach // 2
        self.earlier = reach - self.later
        self.shifts = tuple(self.earlier - tap * rate for tap in range(kernel_size))  # steps back that each tap reads
        self.weight = nn.Parameter(truncated_normal_(torch.empty(width, width, kernel_size)))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        packing = packing_of(keep)
        if packing is not None:
            return convolve(states, self.weight, self.bias, self.shifts, packing)
        return self.as_image(states)

    def as_image(self, states: Tensor) -> Tensor:
        """Convolve `states (B, T, D)` the readable way, as an image of one row.

        Thus they are already in channels-last layout, and no copy is made (1.1-1.3x the 1-d call on a CPU).
        """
        padded = F.pad(states, (0, 0, self.earlier, self.later))  # (B, T + (k - 1) rate, D)
        image = padded.unsqueeze(1).permute(0, 3, 1, 2)  # (B, D, 1, ...), channels last
        convolved = F.conv2d(image, self.weight.unsqueeze(2), self.bias, dilation=(1, self.rate))
        return convolved.permute(0, 2, 3, 1).squeeze(1)  # (B, T, D)


class ConvUnit(Sublayer):
    """Convolution, norm over channels, ReLU; padding is silenced after it, since biases leak into it."""

    packs = True

    def __init__(self, width: int, kernel_size: int, rate: int, causal: bool) -> None:
        super().__init__()
        self.op: Sublayer = DilatedConv(width, kernel_size, rate, causal)
        self.norm = nn.LayerNorm(width, eps=1e-8)

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        return torch.relu(self.norm(self.op(states, keep))) * keep


class PreActivated(ConvUnit):
    """Norm over channels, ReLU, convolution; padding is silenced before it too, where the norm's bias leaks into it."""

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        return self.op(torch.relu(self.norm(states)) * keep, keep) * keep


class NormFirst(ConvUnit):
    """Norm over channels, convolution, ReLU."""

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        return torch.relu(self.op(self.norm(states) * keep, keep)) * keep


ORDERS: dict[str, type[ConvUnit]] = {"post": ConvUnit, "pre": PreActivated, "norm_first": NormFirst}


class ConvBranch(Sublayer):
    """Two units, the second at twice the rate of the first."""

    packs = True

    def __init__(self, width: int, kernel_size: int, rate: int, causal: bool, order: str) -> None:
        super().__init__()
        self.first: Sublayer = ORDERS[order](width, kernel_size, rate, causal)
        self.second: Sublayer = ORDERS[order](width, kernel_size, 2 * rate, causal)

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        return self.second(self.first(states, keep), keep)


class NextItBlock(Block):
    """`x + unit(unit(x))`: NextItNet's residual block (b), as PeterRec uses it (spec 1.1), or in another order."""

    roles: ClassVar[dict[str, tuple[str, ...]]] = {
        "op": ("branch.first.op", "branch.second.op"),
        "unit": ("branch.first", "branch.second"),
        "branch": ("branch",),
        "norm": ("branch.first.norm", "branch.second.norm"),
    }
    packs = True

    def __init__(
        self, width: int, kernel_size: int, rate: int, dropout: float, causal: bool = True, order: str = "post"
    ) -> None:
        super().__init__()
        self.branch: Sublayer = ConvBranch(width, kernel_size, rate, causal, order)
        self.dropout = Dropout(dropout)

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        return states + self.dropout(self.branch(states, keep))


class NextItNet(Encoder):
    """Encode with dilated causal convolutions.

    A rate l in `dilations` makes one block of two convolutions at l and 2l; the standard stack is `[1, 4] * 4`. The
    paper has no dropout, no final norm and no scale; all are options here, since the tied softmax trains better with
    them. `scaled` multiplies what the table holds by the square root of the width, as in the Transformer: each branch
    adds values near 1, beside which an item's own vector of deviation 0.02 is lost.

    `order` is that of a unit: post, convolution, norm, ReLU (PeterRec's code); pre, norm, ReLU, convolution (Conure's
    code); norm_first, norm, convolution, ReLU (the figure in Conure's talk). Their weights have the same shapes.
    """

    def __init__(
        self,
        vocab_size: int,
        width: int = 64,
        dilations: tuple[int, ...] | list[int] = (1, 4, 1, 4, 1, 4, 1, 4),
        kernel_size: int = 3,
        dropout: float = 0.0,
        final_norm: bool = False,
        scaled: bool = False,
        order: str = "post",
    ) -> None:
        if order not in ORDERS:
            raise ConfigError(f"{type(self).__name__} has order='{order}'", f"choose from {', '.join(ORDERS)}")
        if width < 1 or kernel_size < 1 or not dilations or min(dilations) < 1:
            raise ConfigError(
                f"{type(self).__name__} has width={width} kernel_size={kernel_size} dilations={list(dilations)}",
                "give whole numbers of at least 1, and at least one dilation",
            )
        super().__init__(
            vocab_size=vocab_size,
            width=width,
            stem=ItemStem(vocab_size, width, dropout, width**0.5 if scaled else 1.0),
            blocks=[NextItBlock(width, kernel_size, rate, dropout, self.causal, order) for rate in dilations],
            final=Final(width, final_norm),
        )

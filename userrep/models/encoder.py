"""The encoder: stem, blocks and final norm, with the one loop over blocks that all backbones share."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from userrep.build import Component
from userrep.models.readout import Readout
from userrep.models.stem import ItemStem
from userrep.models.sublayer import Sublayer
from userrep.sequences.vocab import PAD


class Block(Sublayer):
    """A block of an encoder; `roles` names its parts at the granularities that methods address.

    op      the convolution, or the attention or feed-forward output before its residual
    unit    op + norm + activation
    branch  the whole residual branch
    norm    the norms, in order, for methods that train them
    A role with no meaning on a block is left out, and surgery refuses it with the reason in `gaps`.
    """

    roles: ClassVar[dict[str, tuple[str, ...]]] = {}
    gaps: ClassVar[dict[str, str]] = {}


class Final(Sublayer):
    """The last norm over channels, or nothing."""

    def __init__(self, width: int, norm: bool, eps: float = 1e-8) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=eps) if norm else None

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        return states if self.norm is None else self.norm(states) * keep


class Encoder(nn.Module, Component):
    """Turn item ids `(B, T)`, left-padded with 0, into states `(B, T, D)` or user vectors `(B, P * D)`.

    A backbone hands its parts to this constructor and adds nothing to the loop; methods change the parts through
    `userrep.methods.surgery` and never copy a backbone.
    """

    causal: ClassVar[bool] = True

    def __init__(self, *, vocab_size: int, width: int, stem: ItemStem, blocks: list[Block], final: Final) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.width = width
        self.stem = stem
        self.blocks = nn.ModuleList(blocks)
        self.final = final
        self.token: nn.Parameter | None = None
        self.readout = Readout("last", width)

    @property
    def user_width(self) -> int:
        """Width of a user vector: D for each part of the readout."""
        return self.readout.width

    def item_vectors(self) -> Tensor:
        """Return the item table `(V, D)` as the stem sees it, for tied output layers."""
        return self.stem.vectors()

    def forward(self, items: Tensor) -> Tensor:
        """Encode each position: `(B, T)` -> `(B, T, D)`."""
        keep = self._keep(items)
        return self._run(self.stem(items, keep), keep)

    def user(self, items: Tensor) -> Tensor:
        """Encode each user: `(B, T)` -> `(B, user_width)`, with the task token placed where the readout needs one."""
        keep = self._keep(items)
        stem = self.stem(items, keep)  # (B, T, D)
        if self.token is None:
            return self.readout(self._run(stem, keep), stem, keep, None)
        token = self.token.expand(len(items), 1, -1)  # (B, 1, D)
        states = self._run(torch.cat([stem, token], dim=1), torch.cat([keep, torch.ones_like(keep[:, :1])], dim=1))
        return self.readout(states[:, :-1], stem, keep, states[:, -1])

    def _run(self, states: Tensor, keep: Tensor) -> Tensor:
        for block in self.blocks:
            states = block(states, keep)
        return self.final(states, keep)

    def _keep(self, items: Tensor) -> Tensor:
        """Return 1 at real positions and 0 at padding, `(B, T, 1)`, in the dtype of the states."""
        dtype = next(self.parameters()).dtype  # asking `item_vectors` could make the whole table
        return items.ne(PAD).unsqueeze(-1).to(dtype)

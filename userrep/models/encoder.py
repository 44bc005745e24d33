"""The encoder: stem, blocks and final norm, with the one way through them that all backbones share."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from userrep.build import Component
from userrep.models.loop import Loop
from userrep.models.packing import packed
from userrep.models.positions import LearnedPositions
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
    """The last norm over channels, of the `kind` that the blocks have, or nothing."""

    packs = True

    def __init__(
        self, width: int, norm: bool, eps: float = 1e-8, kind: Callable[..., nn.Module] = nn.LayerNorm
    ) -> None:
        super().__init__()
        self.norm = kind(width, eps=eps) if norm else None

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        return states if self.norm is None else self.norm(states) * keep


class Encoder(nn.Module, Component):
    """Turn item ids `(B, T)`, left-padded with 0, into states `(B, T, D)` or user vectors `(B, P * D)`.

    A backbone hands its parts to this constructor and adds nothing to the way through them; methods change the parts
    through `userrep.methods.surgery`, or exchange the `loop` over the blocks, and never copy a backbone.
    """

    causal: ClassVar[bool] = True  # False: a state reads later items too

    def __init__(
        self,
        *,
        vocab_size: int,
        width: int,
        stem: ItemStem,
        blocks: Sequence[Block],
        final: Final,
        positions: LearnedPositions | None = None,
    ) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.width = width
        self.stem = stem
        self.positions = positions
        self.blocks = nn.ModuleList(blocks)
        self.final = final
        self.loop = Loop()
        self.token: nn.Parameter | None = None
        self.readout = Readout("last", width)

    @property
    def user_width(self) -> int:
        """Width of a user vector: D for each part of the readout."""
        return self.readout.width

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device  # a table may be made each time that it is asked for

    def item_vectors(self) -> Tensor:
        """Return the item table `(V, D)` as the stem sees it, for tied output layers."""
        return self.stem.vectors()

    def forward(self, items: Tensor) -> Tensor:
        """Encode each position: `(B, T)` -> `(B, T, D)`."""
        stem, keep = self.stemmed(items)
        return self._run(self._placed(stem, keep), keep, self.loop.decide(items, stem, keep, each=self.causal))

    def user(self, items: Tensor) -> Tensor:
        """Encode each user: `(B, T)` -> `(B, user_width)`, with the task token placed where the readout needs one.

        A causal encoder has it at the end and reads it there; one that reads both ways has it before the first item
        and after the last, and reads the sum of both states (PeterRec, section 3.2).
        """
        stem, keep = self.stemmed(items)
        route = self.loop.decide(items, stem, keep, each=False)
        if not self.readout.needs_token:
            return self.readout(self._run(self._placed(stem, keep), keep, route), stem, keep, None)
        run = self._run_to_token if self.causal else self._run_between_tokens
        states, token = run(stem, keep, route)
        return self.readout(states, stem, keep, token)

    def stemmed(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the stem makes of items, `(B, T, D)`, and 1 at real positions, 0 at padding, `(B, T, 1)`."""
        keep = self._keep(items)
        return self.stem(items, keep), keep

    def _run_to_token(self, stem: Tensor, keep: Tensor, route: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run with the token at the end; return the items' states `(B, T, D)` and the token's `(B, D)`."""
        states = self._run(*self._ended(self._placed(stem, keep), keep), route)
        return states[:, :-1], states[:, -1]

    def _run_between_tokens(self, stem: Tensor, keep: Tensor, route: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run with a token at each end; the first stands right before the oldest item, after the padding."""
        assert self.token is not None
        steps = torch.arange(stem.shape[1] + 1, device=stem.device)
        padding = keep.cumsum(dim=1).eq(0).sum(dim=1)  # (B, 1): steps before the oldest item
        front = steps.eq(padding).unsqueeze(-1)  # (B, 1 + T, 1), true once a row
        longer, real = (nn.functional.pad(tensor, (0, 0, 1, 0)) for tensor in (stem, keep))
        longer, real = torch.where(front, self.token, longer), torch.where(front, 1.0, real)
        states = self._run(*self._ended(self._placed(longer, real), real), route)  # (B, 1 + T + 1, D)
        first = (states[:, :-1] * front).sum(dim=1)
        return states[:, 1:-1] * keep, first + states[:, -1]

    def _ended(self, states: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Append the token, which has no place in the count of positions, to `(B, T, D)` states."""
        assert self.token is not None
        token = self.token.expand(len(states), 1, -1)  # (B, 1, D)
        return torch.cat([states, token], dim=1), torch.cat([keep, torch.ones_like(keep[:, :1])], dim=1)

    def _placed(self, states: Tensor, keep: Tensor) -> Tensor:
        return states if self.positions is None else self.positions(states, keep)

    def _run(self, states: Tensor, keep: Tensor, route: Tensor | None) -> Tensor:
        packing = packed((*self.blocks, self.final), states, keep)
        if packing is None:
            return self.final(self.loop(self.blocks, states, keep, route), keep)
        rows, real = packing.pack(states), packing.keep(keep)
        return packing.unpack(self.final(self.loop(self.blocks, rows, real, route), real))

    def _keep(self, items: Tensor) -> Tensor:
        """Return 1 at real positions and 0 at padding, `(B, T, 1)`, in the dtype of the states."""
        dtype = next(self.parameters()).dtype  # asking `item_vectors` could make the whole table
        return items.ne(PAD).unsqueeze(-1).to(dtype)

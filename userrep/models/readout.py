"""Readouts: how the states of a history become one user vector."""

import torch
from torch import Tensor, nn

from userrep.sequences.protocol import readout_parts


class Readout(nn.Module):
    """Read a user vector `(B, P * D)` from states, one part of `D` for each name in a spec such as `mean+items`.

    last       the state of the newest item
    token      the state of the task token (PeterRec's [TCL]); the encoder places the token
    mean       the mean state over the real items
    items      the mean of the stem's item vectors, which bypasses the blocks
    attention  a learned query over the real items' states
    """

    def __init__(self, spec: str, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.parts = readout_parts(spec)
        self.width = width * len(self.parts)
        self.needs_token = "token" in self.parts
        if "attention" in self.parts:
            self.query = nn.Parameter(torch.zeros(width))  # zero: starts as the mean

    def forward(self, states: Tensor, stem: Tensor, keep: Tensor, token: Tensor | None) -> Tensor:
        """Join the parts; `states`, `stem` are (B, T, D) over items only, `token` the token's state (B, D)."""
        vectors = [self._part(name, states, stem, keep, token) for name in self.parts]
        return vectors[0] if len(vectors) == 1 else torch.cat(vectors, dim=-1)  # (B, P * D)

    def _part(self, name: str, states: Tensor, stem: Tensor, keep: Tensor, token: Tensor | None) -> Tensor:
        if name == "last":
            return states[:, -1]
        if name == "token":
            assert token is not None
            return token
        if name == "attention":
            logits = states @ self.query  # (B, T)
            logits = logits.masked_fill(keep.squeeze(-1) == 0, float("-inf"))
            empty = keep.sum(dim=1) == 0  # (B, 1): a user with no known item reads zero, not NaN
            weights = torch.softmax(logits.masked_fill(empty, 0.0), dim=-1).unsqueeze(-1) * keep
            return (weights * states).sum(dim=1)
        chosen = states if name == "mean" else stem
        return (chosen * keep).sum(dim=1) / keep.sum(dim=1).clamp_min(1.0)

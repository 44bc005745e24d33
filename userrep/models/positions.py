"""Learned positions: a vector for each place, counted from the newest item, so that padding moves nothing."""

import torch
from torch import Tensor, nn

from userrep.errors import ConfigError
from userrep.models.dropout import Dropout
from userrep.models.sublayer import Sublayer


class LearnedPositions(Sublayer):
    """Add the vector of its place to each state; place 0 is the newest.

    Vectors start at zero, so that a place that training never reaches is no position instead of a random one.
    Raises ConfigError where a kept step lies beyond the last place.
    """

    def __init__(self, width: int, max_length: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(max_length, width))
        self.dropout = Dropout(dropout)

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        steps, places = states.shape[1], len(self.weight)
        if steps > places and keep[:, : steps - places].any():
            longest = int(keep.sum(dim=1).max())
            raise ConfigError(
                f"a history has {longest} items, the model has positions for {places}",
                "cut histories (protocol.history, trainer.length) or train a model with a larger max_length",
            )
        back = torch.arange(steps - 1, -1, -1, device=states.device).clamp_max(places - 1)  # (T,)
        return self.dropout(states + self.weight[back]) * keep

"""CLUE with InfoNCE, an extension: two views of a user are told from those of the other users of the batch."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from userrep.errors import ConfigError
from userrep.objectives.siamese import Siamese


class ClueInfoNce(Siamese):
    """NT-Xent (Chen et al., ICML 2020): cross-entropy of each view's partner among all views of the batch but itself.

    temperature  by which cosines are divided
    The rest is in `Siamese`. CLUE itself has no negatives, since nobody knows that two users are unlike. Windows of one
    user in a batch are no negatives of each other.
    """

    least = 0.0

    def __init__(self, temperature: float = 0.2, **own: Any) -> None:
        super().__init__(**own)
        if not 1e-3 <= temperature < float("inf"):
            raise ConfigError(f"temperature is {temperature}", "give a number of at least 0.001; 0.1 to 0.5 are usual")
        self.temperature = temperature

    def compare(self, left: Tensor, right: Tensor, rows: Tensor) -> Tensor:
        views = F.normalize(torch.cat([left, right]), dim=-1)  # (2B, D)
        count = len(left)
        partner = (torch.arange(2 * count, device=views.device) + count) % (2 * count)
        owners = rows.repeat(2)
        own = owners.unsqueeze(0).eq(owners.unsqueeze(1))  # (2B, 2B)
        own[torch.arange(2 * count), partner] = False  # all views of a user but the one that is looked for
        return F.cross_entropy((views @ views.t() / self.temperature).masked_fill(own, float("-inf")), partner)

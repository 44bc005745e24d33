"""CLUE: two views of a user are drawn together, with no negatives (Cheng et al., ICDM 2021; the loss is SimSiam's)."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from userrep.errors import ConfigError
from userrep.models.encoder import Encoder
from userrep.objectives.projection import predictor
from userrep.objectives.siamese import Siamese
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared


class Clue(Siamese):
    """Predict each view from the other: negative cosine of one side, predicted, and the other, held fixed.

    predictor      width inside the predictor; a quarter of the projected width where None, 0 for no predictor
    stop_gradient  hold the other side fixed
    The rest is in `Siamese`. Without a predictor or without the stop of the gradient the vectors collapse (figure 6 of
    the paper): both are here to be switched off by who wants to see it.
    """

    def __init__(self, predictor: int | None = None, stop_gradient: bool = True, **own: Any) -> None:
        super().__init__(**own)
        if predictor is not None and predictor < 0:
            raise ConfigError(f"predictor is {predictor}", "give its inner width, or 0 for none")
        self.inner, self.stop_gradient = predictor, stop_gradient

    def setup(self, encoder: Encoder, data: Prepared, protocol: Protocol) -> None:
        super().setup(encoder, data, protocol)
        inner = max(1, self.compared // 4) if self.inner is None else self.inner
        self.predictor = predictor(self.compared, inner) if inner else torch.nn.Identity()

    def compare(self, left: Tensor, right: Tensor, rows: Tensor) -> Tensor:
        return (self._distance(left, right) + self._distance(right, left)) / 2

    def _distance(self, seen: Tensor, other: Tensor) -> Tensor:
        """Return the mean negative cosine between what is predicted from one view and the other view."""
        held = other.detach() if self.stop_gradient else other
        return -F.cosine_similarity(self.predictor(seen), held, dim=-1).mean()

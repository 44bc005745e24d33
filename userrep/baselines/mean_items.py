"""Mean items: a linear model on the mean of a base's item vectors, what pre-training knows without its blocks."""

from typing import ClassVar

from userrep.baselines.from_base import FromBase, ProbeOnBase, RidgeOnBase, Vectors, mean_vectors
from userrep.models.encoder import Encoder
from userrep.sequences.protocol import Protocol


class _MeanItems(FromBase):
    reads: ClassVar[str] = "items"

    def vectors(self, encoder: Encoder, protocol: Protocol, seed: int) -> Vectors:
        return mean_vectors(encoder, protocol.history)


class MeanItems(_MeanItems, ProbeOnBase):
    """Logistic regression on the mean vector of a user's newest `protocol.history` items."""


class MeanItemsRidge(_MeanItems, RidgeOnBase):
    """Ridge regression from the mean vector of a history's newest `protocol.history` items to the items chosen."""

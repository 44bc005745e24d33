"""Probe encoder: a linear model on the user vectors of a frozen base, read as the protocol says."""

from typing import ClassVar

from userrep.baselines.from_base import FromBase, ProbeOnBase, RidgeOnBase, Vectors, user_vectors
from userrep.models.encoder import Encoder
from userrep.sequences.protocol import Protocol


class _UserVectors(FromBase):
    reads: ClassVar[str] = "states"

    def vectors(self, encoder: Encoder, protocol: Protocol, seed: int) -> Vectors:
        return user_vectors(encoder, protocol, seed)


class ProbeEncoder(_UserVectors, ProbeOnBase):
    """Logistic regression on user vectors: what `head` trains by gradients, solved to the end."""


class ProbeEncoderRidge(_UserVectors, RidgeOnBase):
    """Ridge regression from user vectors to the items chosen."""

"""BitFit: the encoder's biases and norms (Ben Zaken et al., ACL 2022)."""

from typing import ClassVar

from userrep.methods.method import Method
from userrep.methods.surgery import vectors
from userrep.models.encoder import Encoder


class BitFit(Method):
    """Train the encoder's vectors, which are its biases and its norms' gains, and the head; freeze every matrix.

    The paper trains biases alone; the gains let an encoder train that has norms but no biases.
    """

    paper: ClassVar[str] = "Ben Zaken et al., ACL 2022"

    def trainable(self, encoder: Encoder) -> tuple[str, ...]:
        return tuple(vectors(encoder))

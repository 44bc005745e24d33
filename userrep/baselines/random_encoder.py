"""The random encoder: what a network of this shape reads from a history before it has learned anything."""

from collections.abc import Sequence

import numpy as np
import torch

from userrep.baselines.bag import standardiser
from userrep.baselines.probe import STRENGTHS, Features, Probe
from userrep.methods.surgery import set_readout
from userrep.models.nextitnet import NextItNet
from userrep.objectives.classify import encode_users
from userrep.sequences.batches import Cases
from userrep.sequences.protocol import Protocol, seen_users
from userrep.sequences.store import Prepared


class RandomEncoder(Probe):
    """Logistic regression on the user vectors of a frozen NextItNet with random weights."""

    def __init__(
        self,
        width: int = 64,
        dilations: Sequence[int] = (1, 4, 1, 4, 1, 4, 1, 4),
        kernel_size: int = 3,
        final_norm: bool = True,
        strengths: Sequence[float] = STRENGTHS,
    ) -> None:
        super().__init__(("states",), strengths)
        self.width, self.dilations, self.kernel_size = width, list(dilations), kernel_size
        self.final_norm = final_norm

    def features(self, kind: str, data: Prepared, protocol: Protocol, ends: np.ndarray, seed: int) -> Features:
        rows, sequences = np.arange(data.num_users), data.sequences(protocol.source)
        everyone = Cases(rows, ends, np.zeros_like(rows))
        with torch.inference_mode():
            encoder = self._encoder(data, protocol, seed)
            vectors = encode_users(encoder, sequences, everyone, protocol.history).double().numpy()  # (U, P * D)
        standard = standardiser(vectors[seen_users(data, protocol)])(vectors)
        return lambda cases: standard[cases.rows]

    def _encoder(self, data: Prepared, protocol: Protocol, seed: int) -> NextItNet:
        """Draw the weights from the seed and leave the caller's stream of random numbers alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = NextItNet(
                vocab_size=data.sequences(protocol.source).vocab_size,
                width=self.width,
                dilations=self.dilations,
                kernel_size=self.kernel_size,
                dropout=0.0,
                final_norm=self.final_norm,
            )
            set_readout(encoder, protocol.readout)
        return encoder.eval()

"""The random encoder: what a network of this shape reads from a history before it has learned anything."""

from collections.abc import Sequence

import numpy as np
import torch

from userrep.baselines.bag import standardiser
from userrep.baselines.baseline import seen_users
from userrep.baselines.probe import STRENGTHS, Features, Probe
from userrep.methods.surgery import set_readout
from userrep.models.nextitnet import NextItNet
from userrep.objectives.classify import encode_users
from userrep.sequences.batches import Cases
from userrep.sequences.protocol import Protocol
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
        self.shape = {"width": width, "dilations": list(dilations), "kernel_size": kernel_size}
        self.final_norm = final_norm

    def features(self, kind: str, data: Prepared, protocol: Protocol, seed: int) -> Features:
        with torch.random.fork_rng(devices=[]):  # the weights come from the seed, the caller's stream stays
            torch.manual_seed(seed)
            encoder = NextItNet(
                vocab_size=data.sequences().vocab_size, dropout=0.0, final_norm=self.final_norm, **self.shape
            )
            set_readout(encoder, protocol.readout)
        encoder.eval()

        def vectors(cases: Cases) -> np.ndarray:
            with torch.inference_mode():
                return encode_users(encoder, data, cases, protocol.history).double().numpy()  # (N, P * D)

        rows, offsets = np.flatnonzero(seen_users(data, protocol)), data.sequences().offsets
        standardise = standardiser(vectors(Cases(rows, offsets[rows + 1], np.zeros_like(rows))))
        return lambda cases: standardise(vectors(cases))

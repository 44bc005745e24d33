"""The user vectors of a run, made block by block."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from userrep.build import build
from userrep.errors import UsageError
from userrep.evaluation.ranking import ENCODE_TILE, Csr, check_finite
from userrep.evaluation.tiles import read_in_tiles
from userrep.methods.surgery import set_readout
from userrep.models.encoder import Encoder
from userrep.models.readout import Readout
from userrep.run import Run
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared
from userrep.stages.restore import restore

AT_ONCE = 8192  # users whose vectors are held


@dataclass(frozen=True)
class Embedder:
    """Read user vectors `(N, W)`, as the readout of the encoder does, from the newest `history` events of histories.

    They are equal bit for bit to those that an evaluation reads from the same histories in the same order.
    """

    encoder: Encoder
    history: int

    @property
    def width(self) -> int:
        """Width W of a user vector."""
        return self.encoder.user_width

    def blocks(self, histories: Csr, at_once: int = AT_ONCE) -> Iterator[np.ndarray]:
        """Yield `(n, W)` float32 in the order of the histories; n is `at_once` in whole tiles, and less at the end.

        Raises:
            DivergedError: a vector is not finite.
        """
        device = next(self.encoder.parameters()).device
        tiles = read_in_tiles(self._read, histories, self.history, device)
        while block := list(islice(tiles, max(1, at_once // ENCODE_TILE))):
            vectors = torch.cat(block)
            check_finite("user vectors", vectors, "they say nothing of a user")
            yield vectors.float().cpu().numpy()

    def all(self, histories: Csr) -> np.ndarray:
        """Return the vectors of all histories: `(N, W)` float32."""
        return np.concatenate(list(self.blocks(histories)))

    def _read(self, items: Tensor) -> Tensor:
        with torch.inference_mode():  # here, and not around a `yield`, which would hand the mode to the caller
            return self.encoder.user(items)


def embedder(run: Run, data: Prepared, device: torch.device, readout: str | None = None) -> Embedder:
    """Restore a run and read user vectors as `readout` says; otherwise as its protocol does.

    Raises:
        UsageError: the run is unfinished, holds no encoder, or has not trained a part of the readout.
    """
    encoder, _ = restore(run, data, device)
    return reader(encoder, build(run.config["protocol"], at="protocol"), readout)


def reader(encoder: Encoder, protocol: Protocol, readout: str | None = None) -> Embedder:
    """Read user vectors of a restored encoder; its readout is changed where another one is asked for."""
    _read_by(encoder, readout or protocol.readout)
    return Embedder(encoder, protocol.history)


def _read_by(encoder: Encoder, spec: str) -> None:
    """Let the encoder read by `spec`, with what it has trained for that: a task token, the query of an attention."""
    trained = {"token": encoder.token is not None, "attention": hasattr(encoder.readout, "query")}
    untrained = [part for part in Readout(spec, encoder.width).parts if not trained.get(part, True)]
    if untrained:
        raise UsageError(
            f"the readout '{spec}' reads a trained {untrained[0]}, and the run has none",
            "give --readout last, mean, items, or several of them joined by '+'",
        )
    set_readout(encoder, spec)

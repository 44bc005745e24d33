"""From a base: baselines that read what a pre-trained encoder knows and change nothing of it."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import torch
from scipy import sparse

from userrep.baselines import probe, ridge
from userrep.baselines.bag import standardiser
from userrep.baselines.baseline import Baseline, Settings
from userrep.baselines.probe import Probe
from userrep.baselines.ranker import read_before
from userrep.baselines.ridge import RidgeRanker
from userrep.errors import UsageError
from userrep.evaluation.ranking import Csr
from userrep.evaluation.tiles import read_histories
from userrep.methods.surgery import set_readout
from userrep.models.encoder import Encoder
from userrep.objectives.objective import Objective
from userrep.objectives.ranking import Ranking
from userrep.sequences.protocol import Protocol, seen_users
from userrep.sequences.store import Prepared

Vectors = Callable[[Csr], np.ndarray]  # histories in rows to (N, F) fp64


class FromBase(Baseline):
    """A baseline on the encoder of a run, which `start_from` gives it; `reads` names what it takes from it."""

    needs_base: ClassVar[bool] = True
    reads: ClassVar[str]
    encoder: Encoder | None = None

    def start_from(self, encoder: Encoder) -> None:
        """Read this encoder, which will be left as it is but for its readout."""
        self.encoder = encoder.eval()

    @abstractmethod
    def vectors(self, encoder: Encoder, protocol: Protocol, seed: int) -> Vectors:
        """Return the function that reads a vector from each history."""

    def base(self) -> Encoder:
        """Return the encoder; UsageError where there is none."""
        if self.encoder is None:
            raise UsageError(f"{type(self).__name__} reads a pre-trained encoder", "name its run with --from RUN")
        return self.encoder

    def base_for(self, task: Objective, data: Prepared, protocol: Protocol) -> Encoder:
        """Return the encoder; UsageError where the histories of the task hold items that it does not know."""
        if task.extra_items(data, protocol):
            raise UsageError(
                f"the base has no vectors for the target items in the histories of {task.task_name}",
                "set task.history=source",
            )
        return self.base()


class ProbeOnBase(FromBase, Probe):
    """Logistic regression on what a base reads from a user's history."""

    def __init__(self, strengths: Sequence[float] = probe.STRENGTHS) -> None:
        super().__init__((self.reads,), strengths)

    def features(self, kind: str, data: Prepared, protocol: Protocol, ends: np.ndarray, seed: int) -> probe.Features:
        sequences, vectors = data.sequences(protocol.source), self.vectors(self.base(), protocol, seed)
        standard = standardised(vectors, seen_histories(data, protocol, ends))
        return lambda cases: standard(read_before(sequences, cases))


class RidgeOnBase(FromBase, RidgeRanker):
    """Ridge regression from what a base reads from a history to the items chosen."""

    def __init__(self, strengths: Sequence[float] = ridge.STRENGTHS) -> None:
        super().__init__([{"features": self.reads}], strengths)

    def features(
        self, kind: Settings, data: Prepared, protocol: Protocol, task: Ranking, learned: Csr, seed: int
    ) -> ridge.Features:
        return standardised(self.vectors(self.base_for(task, data, protocol), protocol, seed), learned)


def seen_histories(data: Prepared, protocol: Protocol, ends: np.ndarray) -> Csr:
    """Return the events before `ends (U,)` of each user whose behaviour may be learned from."""
    rows, sequences = np.flatnonzero(seen_users(data, protocol)), data.sequences(protocol.source)
    return Csr(sequences.items, sequences.offsets[rows], ends[rows])


def mean_vectors(encoder: Encoder, history: int) -> Vectors:
    """Return the function that averages the item vectors of each row's newest `history` events."""
    table = encoder.item_vectors().detach().double().numpy()  # (V, D)

    def average(events: Csr) -> np.ndarray:
        starts = np.maximum(events.starts, events.ends - history)
        lengths = events.ends - starts
        owner, items = Csr(events.items, starts, events.ends).pairs(np.arange(len(lengths)))
        shares = 1 / lengths[owner]
        return sparse.coo_matrix((shares, (owner, items)), (len(lengths), len(table))).tocsr() @ table

    return average


def user_vectors(encoder: Encoder, protocol: Protocol, seed: int) -> Vectors:
    """Return the function that encodes each row's history and reads the user vector as the protocol says.

    A part of the readout that would have to be trained, such as a token, is drawn from the seed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        set_readout(encoder, protocol.readout)

    def encode(events: Csr) -> np.ndarray:
        with torch.inference_mode():
            vectors = read_histories(encoder.user, events, protocol.history, encoder.device)
        return vectors.double().numpy()  # (N, P * D)

    return encode


def standardised(vectors: Vectors, learned: Csr) -> Vectors:
    """Give each channel mean 0 and deviation 1 over the histories of `learned`."""
    standardise = standardiser(vectors(learned))
    return lambda events: standardise(vectors(events))

"""Probe encoder: a linear model on the user vectors of a frozen base, read as the protocol says."""

from collections.abc import Sequence

from userrep.baselines import probe, ridge
from userrep.baselines.baseline import Settings
from userrep.baselines.from_base import FromBase, seen_histories, standardised, user_vectors
from userrep.baselines.probe import Probe
from userrep.baselines.ranker import read_before
from userrep.baselines.ridge import RidgeRanker
from userrep.evaluation.ranking import Csr
from userrep.objectives.ranking import Ranking
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared


class ProbeEncoder(FromBase, Probe):
    """Logistic regression on user vectors: what `head` trains by gradients, solved to the end."""

    def __init__(self, strengths: Sequence[float] = probe.STRENGTHS) -> None:
        super().__init__(("states",), strengths)

    def features(self, kind: str, data: Prepared, protocol: Protocol, seed: int) -> probe.Features:
        sequences, vectors = data.sequences(protocol.source), user_vectors(self.base(), protocol, seed)
        standard = standardised(vectors, seen_histories(data, protocol))
        return lambda cases: standard(read_before(sequences, cases))


class ProbeEncoderRidge(FromBase, RidgeRanker):
    """Ridge regression from user vectors to the items chosen."""

    def __init__(self, strengths: Sequence[float] = ridge.STRENGTHS) -> None:
        super().__init__([{"features": "states"}], strengths)

    def features(
        self, kind: Settings, data: Prepared, protocol: Protocol, task: Ranking, learned: Csr, seed: int
    ) -> ridge.Features:
        return standardised(user_vectors(self.base_for(task, data, protocol), protocol, seed), learned)

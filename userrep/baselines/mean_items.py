"""Mean items: a linear model on the mean of a base's item vectors, what pre-training knows without its blocks."""

from collections.abc import Sequence

from userrep.baselines import probe, ridge
from userrep.baselines.baseline import Settings
from userrep.baselines.from_base import FromBase, mean_vectors, seen_histories, standardised
from userrep.baselines.probe import Probe
from userrep.baselines.ranker import read_before
from userrep.baselines.ridge import RidgeRanker
from userrep.evaluation.ranking import Csr
from userrep.objectives.ranking import Ranking
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared


class MeanItems(FromBase, Probe):
    """Logistic regression on the mean vector of a user's newest `protocol.history` items."""

    def __init__(self, strengths: Sequence[float] = probe.STRENGTHS) -> None:
        super().__init__(("items",), strengths)

    def features(self, kind: str, data: Prepared, protocol: Protocol, seed: int) -> probe.Features:
        sequences, vectors = data.sequences(protocol.source), mean_vectors(self.base(), protocol.history)
        standard = standardised(vectors, seen_histories(data, protocol))
        return lambda cases: standard(read_before(sequences, cases))


class MeanItemsRidge(FromBase, RidgeRanker):
    """Ridge regression from the mean vector of a history's newest `protocol.history` items to the items chosen."""

    def __init__(self, strengths: Sequence[float] = ridge.STRENGTHS) -> None:
        super().__init__([{"features": "items"}], strengths)

    def features(
        self, kind: Settings, data: Prepared, protocol: Protocol, task: Ranking, learned: Csr, seed: int
    ) -> ridge.Features:
        return standardised(mean_vectors(self.base_for(task, data, protocol), protocol.history), learned)

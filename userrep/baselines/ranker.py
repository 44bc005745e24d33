"""The ranker: a baseline that scores items, whatever domain they are of."""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from userrep.baselines.baseline import Baseline, Predict, Settings
from userrep.errors import UsageError
from userrep.evaluation.ranking import Csr, Scorer
from userrep.evaluation.results import RankingResult
from userrep.objectives.objective import Objective
from userrep.objectives.ranking import Ranking
from userrep.sequences.batches import Cases
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared, Sequences

Score = Callable[[Settings, Cases], Scorer]  # by settings, cases in rows
BACKOFF = 1e-3  # weight of an item's share of the training targets: it orders the items that nothing else reaches


class Ranker(Baseline):
    """A baseline for tasks whose answer is an item."""

    kind: ClassVar[str] = "ranking"

    @abstractmethod
    def learn(self, data: Prepared, protocol: Protocol, task: Ranking, seed: int) -> Score:
        """Learn what all settings share; return the function that scores all ranked items for cases."""

    def predictor(self, data: Prepared, protocol: Protocol, task: Objective, seed: int) -> Predict:
        assert isinstance(task, Ranking)
        score = self.learn(data, protocol, task, seed)

        def predict(settings: Settings, role: str) -> RankingResult:
            cases = task.cases(data, protocol, role)
            return task.rank(data, protocol, cases, score(settings, cases))

        return predict


def backoff(task: Ranking, data: Prepared, protocol: Protocol) -> np.ndarray:
    """Return what an item scores where nothing else is known of it: BACKOFF times its share of the targets `(V,)`."""
    counts = task.target_counts(data, protocol)
    return BACKOFF * counts / max(1, counts.sum())


def read_before(sequences: Sequences, cases: Cases) -> Csr:
    """Return the history of each case, all of it."""
    return Csr(sequences.items, sequences.offsets[cases.rows], cases.ends)


def needs_shared_items(who: str, task: Ranking, data: Prepared, protocol: Protocol) -> None:
    """Raise UsageError where a task ranks items of another domain than histories are of."""
    if task.targets(data, protocol) is not task.inputs(data, protocol):
        raise UsageError(
            f"{who} learns which items go with which of one domain, {task.task_name} ranks items of another",
            "take popularity, item_knn or ridge",
        )


def needs_answers(who: str, task: Ranking, data: Prepared, protocol: Protocol) -> None:
    """Raise UsageError where histories and what goes with them are the same events, which would explain themselves."""
    before, answers = task.learned_from(data, protocol)
    if before is answers:
        raise UsageError(
            f"{who} learns from histories and what followed them, {task.task_name} asks for more of the same",
            "take ease or item_knn",
        )

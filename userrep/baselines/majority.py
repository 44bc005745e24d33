"""Majority: everyone gets the class shares of the training users."""

from typing import ClassVar

import numpy as np

from userrep.baselines.baseline import Baseline, Predict, Settings
from userrep.evaluation.results import ClassificationResult
from userrep.objectives.objective import Objective
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared


class Majority(Baseline):
    """Predict the class shares, each class counted once more than it occurs so that none is impossible."""

    kind: ClassVar[str] = "classification"

    def candidates(self) -> list[Settings]:
        return [{}]

    def predictor(self, data: Prepared, protocol: Protocol, task: Objective, seed: int) -> Predict:
        classes = tuple(data.classes(task.task_name))
        counts = 1 + np.bincount(task.cases(data, protocol, "train").targets, minlength=len(classes))

        def predict(settings: Settings, role: str) -> ClassificationResult:
            cases = task.cases(data, protocol, role)
            shares = np.tile(counts / counts.sum(), (len(cases), 1))  # (N, K)
            return ClassificationResult(cases.rows, cases.targets, shares, classes)

        return predict

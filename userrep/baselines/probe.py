"""The probe: logistic regression on fixed features of a user, its strength chosen on validation."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from userrep.baselines.baseline import Baseline, Predict, Settings
from userrep.errors import DataError, UsageError
from userrep.evaluation.results import ClassificationResult
from userrep.objectives.classify import Classify
from userrep.objectives.objective import Objective
from userrep.sequences.batches import Cases
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared

STRENGTHS = (0.3, 1.0, 3.0, 10.0)
Features = Callable[[Cases], Any]  # (N, F), dense or sparse


class Probe(Baseline):
    """Logistic regression over all classes; features are scaled to a mean squared length of one over training users.

    `strengths` are candidates for C, the inverse of the penalty; `kinds` name candidates for the features.
    """

    kind: ClassVar[str] = "classification"

    def __init__(self, kinds: Sequence[str], strengths: Sequence[float] = STRENGTHS) -> None:
        super().__init__()
        self.kinds, self.strengths = list(kinds), list(strengths)

    @abstractmethod
    def features(self, kind: str, data: Prepared, protocol: Protocol, ends: np.ndarray, seed: int) -> Features:
        """Return the function that makes the features of a kind, whatever it learns learned from seen users only.

        `ends (U,)` is where that ends which may be read of each user's history.
        """

    def candidates(self) -> list[Settings]:
        return [{"features": kind, "c": strength} for kind in self.kinds for strength in self.strengths]

    def predictor(self, data: Prepared, protocol: Protocol, task: Objective, seed: int) -> Predict:
        assert isinstance(task, Classify)
        make_model = logistic_regression()
        classes = tuple(data.classes(task.task_name))
        cases = {role: task.cases(data, protocol, role) for role in ("train", "valid", "test")}
        if len(np.unique(cases["train"].targets)) < 2:
            raise DataError(f"all training users have one class of {task.task_name}", "choose another task or fold")
        made: dict[str, dict[str, Any]] = {}

        def predict(settings: Settings, role: str) -> ClassificationResult:
            kind = settings["features"]
            if kind not in made:
                features = self.features(kind, data, protocol, task.ends(data, protocol), seed)
                made[kind] = scaled({name: features(part) for name, part in cases.items()})
            model = make_model(C=settings["c"], max_iter=2_000, random_state=seed)
            model.fit(made[kind]["train"], cases["train"].targets)
            found = fill_classes(
                model.predict_proba(made[kind][role]), model.classes_, len(classes), len(cases["train"])
            )
            return ClassificationResult(cases[role].rows, cases[role].targets, found, classes)

        return predict


def logistic_regression() -> Any:
    """Return scikit-learn's class; UsageError where it is not installed."""
    return needs_sklearn("linear_model").LogisticRegression


def needs_sklearn(module: str) -> Any:
    """Import a module of scikit-learn, an extra; UsageError where it is not installed."""
    from importlib import import_module

    try:
        return import_module(f"sklearn.{module}")
    except ImportError as error:
        raise UsageError("linear models on features need scikit-learn", "pip install 'userrep[baselines]'") from error


def scaled(features: dict[str, Any]) -> dict[str, Any]:
    """Divide the features of all roles by the root mean squared length of the training users'."""
    train = features["train"]
    squared = train.multiply(train).sum() if hasattr(train, "multiply") else np.square(train).sum()
    length = np.sqrt(squared / train.shape[0]) or 1.0
    return {role: matrix / length for role, matrix in features.items()}


def fill_classes(found: np.ndarray, codes: np.ndarray, count: int, cases: int) -> np.ndarray:
    """Give classes without a training case the share of one case in `cases`: `(N, codes)` -> `(N, count)`."""
    full = np.full((len(found), count), 1 / (cases + count))
    full[:, codes] = found
    return full / full.sum(axis=1, keepdims=True)

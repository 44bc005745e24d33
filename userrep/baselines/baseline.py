"""The baseline: learns from training cases, chooses its settings on validation, predicts any role."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from userrep.build import Component
from userrep.errors import UsageError
from userrep.evaluation.results import Metrics, Result
from userrep.objectives.objective import Objective
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared

Settings = dict[str, Any]
Predict = Callable[[Settings, str], Result]  # by settings, for the cases of a role


@dataclass(frozen=True)
class Trial:
    """Settings that were tried and what they gave on validation."""

    settings: Settings
    metrics: Metrics


class Baseline(Component, ABC):
    """A simple predictor.

    After `fit_predict`, `trials` holds what was tried, `chosen` the trial that was best on validation and `validated`
    its result there.
    """

    kind: ClassVar[str]
    needs_base: ClassVar[bool] = False  # whether it reads a pre-trained encoder, see `FromBase`

    def __init__(self) -> None:
        self.trials: list[Trial] = []
        self.chosen: Trial | None = None
        self.validated: Result | None = None

    @abstractmethod
    def candidates(self) -> list[Settings]:
        """List the settings to choose from."""

    @abstractmethod
    def predictor(self, data: Prepared, protocol: Protocol, task: Objective, seed: int) -> Predict:
        """Prepare what all settings share; return the function that learns by settings and predicts a role."""

    def fit_predict(
        self, data: Prepared, protocol: Protocol, task: Objective, role: str = "test", seed: int = 0
    ) -> Result:
        """Choose settings by the task's metric on validation, then predict the cases of `role`.

        Raises:
            UsageError: the baseline does not fit the kind of task.
        """
        if task.kind != self.kind:
            raise UsageError(
                f"{type(self).__name__} is a baseline for {self.kind}, {task.task_name} is a {task.kind} task",
                "see the choices with: userrep baseline --help, and docs/baselines.md",
            )
        predict = self.predictor(data, protocol, task.leader, seed)
        found = [(settings, predict(settings, "valid")) for settings in self.candidates()]
        self.trials = [Trial(settings, result.metrics()) for settings, result in found]
        sign = 1 if task.maximise else -1
        best = max(range(len(found)), key=lambda index: sign * self.trials[index].metrics[task.metric])
        self.chosen, self.validated = self.trials[best], found[best][1]
        return self.validated if role == "valid" else predict(self.chosen.settings, role)

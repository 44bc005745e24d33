"""What an evaluation found, user by user, from which every metric, interval and comparison is made."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self

import numpy as np

from userrep.errors import ConfigError, DataError, suggest
from userrep.evaluation import metrics
from userrep.evaluation.negatives import uniform_negatives
from userrep.evaluation.ranking import Csr, Scorer, count_competitors

CUTOFFS = (5, 10, 20)
SAMPLED = 99
RANKED = {"hr": metrics.hit_rate, "ndcg": metrics.ndcg, "mrr": metrics.reciprocal_rank}
PROBABILITY = "p:"  # begins the name of a class's column
PART, JUDGED, OVERALL = "part", "judged_by", "overall"  # columns of a joint result, and what it is judged by
LEAST = 1e-4  # smaller metrics count as this much in `overall`: one that is zero at first would hide the others

Metrics = dict[str, float]


@dataclass(frozen=True)
class Result(ABC):
    """One row a case: `users (N,)` are rows of the prepared data set."""

    kind: ClassVar[str]
    users: np.ndarray

    def __len__(self) -> int:
        return len(self.users)

    @abstractmethod
    def values(self) -> dict[str, np.ndarray]:
        """Return the metrics that are means over cases, as per-case values `(N,)`."""

    def pooled(self, weights: np.ndarray | None) -> dict[str, float | np.ndarray]:
        """Return the metrics that are no means, over all cases or under resampling weights `(R, N)`."""
        return {}

    def metrics(self) -> Metrics:
        """Return every metric by its flat name.

        Raises:
            DataError: there is no case.
        """
        self._check_not_empty()
        means = {name: metrics.mean(values) for name, values in self.values().items()}
        return {name: float(value) for name, value in (means | self.pooled(None)).items()}

    def resampled(self, weights: np.ndarray, names: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
        """Return metrics by name as `(R,)`, all or `names`; `weights (R, N)`: how often each case occurs."""
        self._check_not_empty()
        values = {name: value for name, value in self.values().items() if names is None or name in names}
        found = {name: np.asarray(metrics.mean(value, weights)) for name, value in values.items()}
        if names is None or not set(names) <= found.keys():
            found |= {name: np.asarray(value) for name, value in self.pooled(weights).items()}
        return found if names is None else {name: found[name] for name in names}

    @abstractmethod
    def table(self) -> dict[str, np.ndarray]:
        """Return the per-case columns that `from_table` reads back, without the user."""

    @classmethod
    @abstractmethod
    def from_table(cls, users: np.ndarray, table: Mapping[str, np.ndarray]) -> Self:
        """Read a result back from its columns."""

    def subset(self, mask: np.ndarray) -> Self:
        """Return the cases of a mask or an index."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        chosen = {name: value[mask] for name, value in arrays.items() if isinstance(value, np.ndarray)}
        return replace(self, **chosen)

    def _check_not_empty(self) -> None:
        if len(self.users) == 0:
            raise DataError("there is no user to evaluate", "choose another split, fold or task")


@dataclass(frozen=True)
class RankingResult(Result):
    """Each target's competitors above and equal, `(N,)` int64, in the whole vocabulary and sampled."""

    kind: ClassVar[str] = "ranking"
    targets: np.ndarray
    greater: np.ndarray
    ties: np.ndarray
    sampled_greater: np.ndarray | None = None
    sampled_ties: np.ndarray | None = None

    @classmethod
    def rank(
        cls,
        users: np.ndarray,
        targets: np.ndarray,
        scorer: Scorer,
        history: Csr | None,
        vocab_size: int,
        seed: int = 0,
    ) -> "RankingResult":
        """Rank each target among all items outside its history, and among 99 uniform negatives of `seed`."""
        negatives = uniform_negatives(users, targets, vocab_size, SAMPLED, seed)
        return cls(users, targets, *count_competitors(scorer, targets, history, vocab_size, negatives))

    def values(self) -> dict[str, np.ndarray]:
        found = _ranked(metrics.ranks(self.greater, self.ties))
        if self.sampled_greater is None or self.sampled_ties is None:
            return found
        sampled = _ranked(metrics.ranks(self.sampled_greater, self.sampled_ties))
        return found | {f"{name}@uni{SAMPLED}": value for name, value in sampled.items()}

    def table(self) -> dict[str, np.ndarray]:
        named = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "users"}
        kept = {name: value for name, value in named.items() if value is not None}
        return kept | {"rank": metrics.ranks(self.greater, self.ties)}

    @classmethod
    def from_table(cls, users: np.ndarray, table: Mapping[str, np.ndarray]) -> "RankingResult":
        names = {field.name for field in fields(cls)} & set(table)
        return cls(users, **{name: np.asarray(table[name]) for name in names})


def _ranked(rank: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{name}@{k}": measure(rank, k) for name, measure in RANKED.items() for k in CUTOFFS}


@dataclass(frozen=True)
class ClassificationResult(Result):
    """Each user's label `(N,)` as a class code, and the probabilities `(N, K)` fp64 of all `classes`.

    `folds (N,)` tells which model made a row where `joined` pooled several; AUC compares within a fold.
    """

    kind: ClassVar[str] = "classification"
    labels: np.ndarray
    probabilities: np.ndarray
    classes: tuple[str, ...]
    folds: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))

    @property
    def predicted(self) -> np.ndarray:
        """Return the class of highest probability, the first of equals: `(N,)`."""
        return self.probabilities.argmax(axis=1)

    def values(self) -> dict[str, np.ndarray]:
        correct = (self.predicted == self.labels).astype(np.float64)
        return {"accuracy": correct, "log_loss": metrics.negative_log(self.probabilities, self.labels)}

    def pooled(self, weights: np.ndarray | None) -> dict[str, float | np.ndarray]:
        found = {"macro_f1": metrics.macro_f1(self.labels, self.predicted, len(self.classes), weights)}
        if len(self.classes) == 2:
            found["auc"] = metrics.auc(self.labels == 1, self.probabilities[:, 1], weights, self.folds)
        return found

    def table(self) -> dict[str, np.ndarray]:
        found = {"label": self.labels, "predicted": self.predicted, **self.values()}
        columns = zip(self.classes, self.probabilities.T, strict=True)
        return found | {f"{PROBABILITY}{name}": column for name, column in columns}

    @classmethod
    def from_table(cls, users: np.ndarray, table: Mapping[str, np.ndarray]) -> "ClassificationResult":
        columns = [name for name in table if name.startswith(PROBABILITY)]
        probabilities = np.stack([np.asarray(table[name]) for name in columns], axis=1)  # (N, K)
        classes = tuple(name.removeprefix(PROBABILITY) for name in columns)
        return cls(users, np.asarray(table["label"]), probabilities, classes)


@dataclass(frozen=True)
class JointResult(Result):
    """The results of several tasks, one after the other; a part's metrics are its own, named `part/metric`.

    `judged` names the metric that each part is judged by. `overall` is the geometric mean of these, those where less is
    better inverted: it rises with the mean of the parts' relative gains, whatever their units. A part without a case,
    as in a subset of users, is left out.
    """

    kind: ClassVar[str] = "joint"
    parts: Mapping[str, Result]
    judged: Mapping[str, str]

    @classmethod
    def of(cls, parts: Mapping[str, Result], judged: Mapping[str, str]) -> "JointResult":
        """Join results by name of their parts."""
        return cls(np.concatenate([part.users for part in parts.values()]), parts, judged)

    def values(self) -> dict[str, np.ndarray]:
        """Return nothing: no metric is a mean over the cases of all parts."""
        return {}

    def pooled(self, weights: np.ndarray | None) -> dict[str, float | np.ndarray]:
        found: dict[str, float | np.ndarray] = {}
        for name, cases in self._places().items():
            part = self.parts[name]
            if len(part):
                own = part.metrics() if weights is None else part.resampled(weights[:, cases])
                if self.judged[name] not in own:
                    raise ConfigError(f"{name} has no metric '{self.judged[name]}'", suggest(self.judged[name], own))
                found |= {f"{name}/{metric}": value for metric, value in own.items()}
        return found | {OVERALL: overall({name: found[name] for name in self._judges() if name in found})}

    def table(self) -> dict[str, np.ndarray]:
        """Return the parts' columns under their prefixes, -1 or NaN in the rows of other parts."""
        found = {column: np.repeat(names, [len(part) for part in self.parts.values()]) for column, names in
                 ((PART, list(self.parts)), (JUDGED, [self.judged[name] for name in self.parts]))}  # fmt: skip
        for name, cases in self._places().items():
            for column, values in self.parts[name].table().items():
                filled = np.full(len(self), np.nan if values.dtype.kind == "f" else -1, dtype=values.dtype)
                filled[cases] = values
                found[f"{name}/{column}"] = filled
        return found

    @classmethod
    def from_table(cls, users: np.ndarray, table: Mapping[str, np.ndarray]) -> "JointResult":
        names = [str(name) for name in dict.fromkeys(table[PART])]
        parts, judged = {}, {}
        for name in names:
            rows, prefix = np.flatnonzero(table[PART] == name), f"{name}/"
            own = {column.removeprefix(prefix): table[column][rows] for column in table if column.startswith(prefix)}
            parts[name], judged[name] = read_result(users[rows], own), str(table[JUDGED][rows[0]])
        return cls.of(parts, judged)

    def subset(self, mask: np.ndarray) -> "JointResult":
        """Return the cases of a mask or an index, still part after part."""
        chosen = np.arange(len(self))[mask]
        kept = {name: chosen[(chosen >= cases.start) & (chosen < cases.stop)] - cases.start
                for name, cases in self._places().items()}  # fmt: skip
        return self.of({name: self.parts[name].subset(places) for name, places in kept.items()}, self.judged)

    def _places(self) -> dict[str, slice]:
        """Return where the cases of each part lie."""
        ends = np.cumsum([len(part) for part in self.parts.values()])
        return {name: slice(int(end) - len(part), int(end))
                for (name, part), end in zip(self.parts.items(), ends, strict=True)}  # fmt: skip

    def _judges(self) -> list[str]:
        return [f"{name}/{metric}" for name, metric in self.judged.items()]


def overall(values: Mapping[str, float | np.ndarray]) -> float | np.ndarray:
    """Return the geometric mean of metrics by their names, `part/metric`, those where less is better inverted."""
    signs = [-1 if metrics.lower_is_better(name) else 1 for name in values]
    logs = [np.log(np.maximum(value, LEAST)) for value in values.values()]
    return np.exp(sum(sign * log for sign, log in zip(signs, logs, strict=True)) / len(logs))


def joined(results: Sequence[Result]) -> Result:
    """Return the cases of several results of one kind, those of as many folds, as one."""
    first = results[0]
    if isinstance(first, JointResult):
        alike = [result for result in results if isinstance(result, JointResult)]
        parts = {name: joined([result.parts[name] for result in alike]) for name in first.parts}
        return JointResult.of(parts, first.judged)
    names = [field.name for field in fields(first) if isinstance(getattr(first, field.name), np.ndarray)]
    arrays = {name: np.concatenate([getattr(one, name) for one in results]) for name in names}
    if isinstance(first, ClassificationResult):
        arrays["folds"] = np.repeat(np.arange(len(results)), [len(one) for one in results])
    return replace(first, **arrays)


def read_result(users: np.ndarray, table: Mapping[str, np.ndarray]) -> Result:
    """Read a result of any kind back from its columns.

    Raises:
        DataError: they are the columns of no kind.
    """
    if {PART, JUDGED} <= table.keys():
        return JointResult.from_table(users, table)
    if not {"label", "predicted"} <= table.keys() and not {"targets", "greater", "ties"} <= table.keys():
        raise DataError(f"these are no results: columns {', '.join(table)}", "evaluate the run again with --fresh")
    kind = ClassificationResult if "label" in table else RankingResult
    return kind.from_table(users, table)

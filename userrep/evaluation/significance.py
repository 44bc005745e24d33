"""Whether one arm of a table is better than another: paired, over users and seeds at once.

Users and seeds are resampled together, and the same draw of both serves all arms (a crossed bootstrap), so
that what makes a user easy or a seed lucky cancels in a difference. One seed's luck is not in the interval.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any

import numpy as np

from userrep.errors import DataError, UsageError
from userrep.evaluation.intervals import Interval, percentiles, resamples
from userrep.evaluation.metrics import lower_is_better
from userrep.evaluation.results import Result

DRAWS = 2_000  # at least: of many contrasts, `draws_for` takes more
LEVEL = 0.05  # of the p that Holm's rule has corrected
POWERED = 1.959964 + 0.841621  # standard errors that are found at 5 % two-sided with 80 % power

Seed = Any  # what a replicate is called: a seed, or a seed and more
Arm = Mapping[Seed, Result]  # users are numbered alike in all arms


@dataclass(frozen=True)
class Paired:
    """Arms cut to the seeds and users they share: `arms[a][s]` on `seeds[s]` has the users `users[s]`.

    An arm with one seed stands for all seeds: a baseline that draws nothing is run once.
    """

    arms: list[list[Result]]
    seeds: list[Seed]
    users: list[np.ndarray]
    left_out: int  # users of some arm that another arm lacks
    seeds_left_out: list[Seed]  # those of arms with several that not all of these have


@dataclass(frozen=True)
class Contrast:
    """An arm less the reference, with its interval, p alone and in the table, and what could be detected.

    `effect` is None where the metric is no mean over users, see `effect_size`.
    """

    difference: float
    interval: Interval
    p: float
    p_holm: float
    detectable: float
    effect: float | None

    @property
    def significant(self) -> bool:
        """Whether the difference is more than chance would show, among all contrasts of the table."""
        return self.p_holm < LEVEL


@dataclass(frozen=True)
class Comparison:
    """One metric of all arms: their values `(A,)` and the contrasts with the reference, None for itself."""

    metric: str
    values: list[float]
    intervals: list[Interval]
    contrasts: list[Contrast | None]

    def record(self, arm: int) -> dict[str, Any]:
        """Return an arm's value and, but for the reference, its contrast, as plain values."""
        found: dict[str, Any] = {"value": self.values[arm], "interval": self.intervals[arm]}
        contrast = self.contrasts[arm]
        if contrast is None:
            return found
        between = asdict(contrast)
        return found | {"difference_interval": between.pop("interval"), **between, "significant": contrast.significant}


def pair(arms: Sequence[Arm]) -> Paired:
    """Cut arms to the seeds and, within each seed, to the users that all of them have.

    Raises:
        UsageError: arms of several seeds share none.
        DataError: the arms share no user.
    """
    several = [set(arm) for arm in arms if len(arm) > 1]
    seeds: list[Seed] = sorted(set.intersection(*several), key=str) if several else list(arms[0])
    if not seeds:
        raise UsageError("these runs share no seed", "compare runs of the same seeds")
    cells = [[_of_seed(arm, seed) for seed in seeds] for arm in arms]
    columns = list(zip(*cells, strict=True))
    shared = [reduce(np.intersect1d, (cell.users for cell in column)) for column in columns]
    if any(len(users) == 0 for users in shared):
        raise DataError("these runs share no test user", "compare runs of the same folds and the same task")
    kept = [[cell.subset(np.isin(cell.users, users)) for cell, users in zip(row, shared, strict=True)] for row in cells]
    everyone = np.unique(np.concatenate([cell.users for row in cells for cell in row]))
    left_out = len(everyone) - len(np.unique(np.concatenate(shared)))
    lacking = sorted(set().union(*several) - set(seeds), key=str)
    return Paired(kept, seeds, shared, left_out, lacking)


def _of_seed(arm: Arm, seed: Seed) -> Result:
    return next(iter(arm.values())) if len(arm) == 1 else arm[seed]


def draws_for(contrasts: int) -> int:
    """Return how many resamples a table needs for its least p, 2 / (R + 1), to be half of LEVEL after Holm's rule."""
    return max(DRAWS, math.ceil(4 * contrasts / LEVEL))


def compare(paired: Paired, metric: str, reference: int = 0, draws: int | None = None, seed: int = 0) -> Comparison:
    """Compare one metric of all arms with arm `reference`; p values corrected over all contrasts (Holm)."""
    draws = draws_for(len(paired.arms) - 1) if draws is None else draws
    drawn = crossed_bootstrap(paired, metric, draws, seed)  # (A, R)
    values = [float(np.mean([cell.metrics()[metric] for cell in row])) for row in paired.arms]
    others = [arm for arm in range(len(values)) if arm != reference]
    differences = {arm: drawn[arm] - drawn[reference] for arm in others}
    single = {arm: two_sided_p(differences[arm]) for arm in others}
    corrected = dict(zip(others, holm([single[arm] for arm in others]), strict=True))
    contrasts: list[Contrast | None] = [None] * len(values)
    for arm in others:
        contrasts[arm] = Contrast(
            values[arm] - values[reference],
            percentiles(differences[arm]),
            single[arm],
            corrected[arm],
            POWERED * _deviation(differences[arm]),
            effect_size(paired, metric, arm, reference),
        )
    return Comparison(metric, values, [percentiles(row) for row in drawn], contrasts)


def _deviation(drawn: np.ndarray) -> float:
    known = drawn[~np.isnan(drawn)]
    return float(known.std()) if len(known) else float("nan")


def crossed_bootstrap(paired: Paired, metric: str, draws: int, seed: int = 0) -> np.ndarray:
    """Resample users and seeds, once for all arms: each arm's metric averaged over seeds, `(A, R)`."""
    rng = np.random.default_rng(seed)
    users = np.unique(np.concatenate(paired.users))
    places = [[np.searchsorted(users, cell.users) for cell in row] for row in paired.arms]
    cases = max(len(cell) for row in paired.arms for cell in row)
    parts = []
    for weights in resamples(len(users), draws, rng, cases):  # (R, users)
        times = next(resamples(len(paired.seeds), len(weights), rng))  # (R, S)
        arms = [
            sum(times[:, s] * cell.resampled(weights[:, place[s]], (metric,))[metric] for s, cell in enumerate(row))
            for row, place in zip(paired.arms, places, strict=True)
        ]
        parts.append(np.stack(arms) / len(paired.seeds))
    return np.concatenate(parts, axis=1)


def effect_size(paired: Paired, metric: str, arm: int, reference: int) -> float | None:
    """Return the mean of the users' differences in their own standard deviations (Cohen's d of pairs, d_z).

    A user's cases are averaged first, then the seeds that tested the user, so that every user counts once. Unlike p it
    does not grow with the number of users. None for a metric that no user has of its own (macro_f1, auc) and where
    all users differ by the same.
    """
    if metric not in paired.arms[arm][0].values():
        return None
    known = np.unique(np.concatenate(paired.users))
    sums, times = np.zeros(len(known)), np.zeros(len(known))
    for ours, theirs in zip(paired.arms[arm], paired.arms[reference], strict=True):
        users, own = _by_user(ours, metric)
        _, other = _by_user(theirs, metric)
        place = np.searchsorted(known, users)
        sums[place] += own - other
        times[place] += 1
    differences = sums / times
    deviation = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    return float(differences.mean()) / deviation if deviation > 0 else None


def _by_user(result: Result, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the users of a result, sorted, and the mean of each one's cases."""
    users, owner = np.unique(result.users, return_inverse=True)
    return users, np.bincount(owner, result.values()[metric]) / np.bincount(owner)


def two_sided_p(differences: np.ndarray) -> float:
    """Return how surprising no difference is, from resampled differences `(R,)`: at least `2 / (R + 1)`."""
    known = differences[~np.isnan(differences)]
    tail = min((known <= 0).sum(), (known >= 0).sum())
    return min(1.0, 2 * (float(tail) + 1) / (len(known) + 1))


def holm(p: Sequence[float]) -> list[float]:
    """Correct p values for their number by Holm's step-down rule; order is kept."""
    order = np.argsort(p, kind="stable")
    scaled = np.asarray(p, dtype=np.float64)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(scaled)) if len(p) else []
    return corrected.tolist()


def margin_of(metric: str, reference: float, asked: float | None = None) -> float | None:
    """Return what still counts as good: `asked`, a point of accuracy, a twentieth of the reference's NDCG, or None.

    Raises:
        UsageError: `asked` is no positive number.
    """
    if asked is not None:
        if not (0 < asked < float("inf")):
            raise UsageError(f"--margin is {asked}", "give a positive number in the metric's own unit, such as 0.01")
        return asked
    own = metric.rpartition("/")[2]  # of a part of a joint task
    if own == "accuracy":
        return 0.01
    return 0.05 * reference if own.startswith("ndcg@") else None


def verdict(interval: Interval, margin: float, metric: str = "accuracy") -> str:
    """Judge "as good as" by a margin fixed beforehand, from the interval of the metric's difference."""
    low, high = interval
    if lower_is_better(metric):
        low, high = -high, -low
    if low > -margin:
        return "non-inferior"
    return "inferior" if high < -margin else "inconclusive"

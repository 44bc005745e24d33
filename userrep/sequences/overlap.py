"""The overlap: who has events in two domains, and how many targets come after events of the other domain."""

from dataclasses import asdict, dataclass
from itertools import permutations

import numpy as np

from userrep.sequences.arrays import Sequences
from userrep.sequences.pieces import user_ranges
from userrep.sequences.store import Prepared

ENOUGH = 3  # earlier source events that make more than a glimpse of a user


@dataclass(frozen=True)
class Overlap:
    """Counts over the users with events in both domains, and over the target events of those users.

    after_one and after_three count the targets with at least one and three earlier source events, first_after_one and
    first_after_three the users whose first target event has as many.
    """

    source: str
    target: str
    users: int
    targets: int
    source_only: int  # users with source events and none in any other domain
    after_one: int
    after_three: int
    first_after_one: int
    first_after_three: int


def overlaps(data: Prepared) -> list[dict[str, int | str]]:
    """Describe every ordered pair of domains; nothing where the order across domains is not known."""
    if any(data.sequences(name).order is None for name in data.domains):
        return []
    return [asdict(_overlap(data, *pair)) for pair in permutations(data.domains, 2)]


def _overlap(data: Prepared, source: str, target: str) -> Overlap:
    before, wanted = data.ordered(source, target)
    counts = np.zeros(6, dtype=np.int64)
    for users in user_ranges(before.offsets + wanted.offsets):
        counts += _counts(before.between(*users), wanted.between(*users))
    both, shared, *targets = counts.tolist()
    return Overlap(source, target, both, shared, int(only_in(data, source).sum()), *targets)


def _counts(before: Sequences, wanted: Sequences) -> list[int]:
    both = (np.diff(before.offsets) > 0) & (np.diff(wanted.offsets) > 0)
    earlier = count_earlier(before, wanted)
    first = earlier[wanted.offsets[:-1][both]]
    shared = earlier[both[wanted.owners()]]
    later = [int(np.sum(values >= least)) for values in (shared, first) for least in (1, ENOUGH)]
    return [int(both.sum()), len(shared), *later]


def only_in(data: Prepared, domain: str) -> np.ndarray:
    """Mask the users `(U,)` with events in this domain and in no other."""
    busy = {name: np.diff(data.sequences(name).offsets) > 0 for name in data.domains}
    others = [mask for name, mask in busy.items() if name != domain]
    return busy[domain] & ~np.any(others, axis=0) if others else busy[domain]


def count_earlier(before: Sequences, wanted: Sequences, strictly: bool = False) -> np.ndarray:
    """Count for each event of `wanted (E,)` the events of `before` that its user had earlier; int64.

    Earlier is what comes first in the order over all domains; `strictly`, what has a smaller time.
    """
    first, second = (before.times, wanted.times) if strictly else (before.order, wanted.order)
    assert first is not None
    assert second is not None
    if strictly:  # seconds may span more than a key has room for
        first, second = _numbered(first, second)
    owners = wanted.owners()
    keys = _keys([before.owners(), owners], [first, second])
    return np.searchsorted(keys[0], keys[1], side="left") - before.offsets[owners]


def _numbered(*times: np.ndarray) -> list[np.ndarray]:
    """Number the different times of all arrays from 0 on, the earliest first."""
    known = np.unique(np.concatenate(times))
    return [np.searchsorted(known, part) for part in times]


def _keys(owners: list[np.ndarray], places: list[np.ndarray]) -> list[np.ndarray]:
    """Join user and place to one number that sorts as the pair does."""
    filled = [place for place in places if len(place)]
    first = min((int(place.min()) for place in filled), default=0)
    span = max((int(place.max()) for place in filled), default=0) - first + 1
    return [owner * span + (place.astype(np.int64) - first) for owner, place in zip(owners, places, strict=True)]

"""Which events and which users train, validate and test: the splits of the protocol, each a pure function."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from userrep.sequences.pieces import order_statistics, release, texts_of, user_ranges

if TYPE_CHECKING:
    import polars as pl

FOLDS = 5
ROLES = ("train", "valid", "test")
VALID, TEST = 1, 2


@dataclass(frozen=True)
class Split:
    """One fold of a split.

    Of each user's events [0, train_end) train, [train_end, valid_end) validate and the rest test; `user_role`
    (U,) int8 is 0 train, 1 valid, 2 test. A split of events belongs to a domain and leaves all users in role
    0; a split of users has no domain and leaves all events of a user together: train_end = valid_end = number
    of events. `hash` names all folds and domains of the split at once.
    """

    name: str
    fold: int
    hash: str
    train_end: np.ndarray  # (U,) int64
    valid_end: np.ndarray  # (U,) int64
    user_role: np.ndarray  # (U,) int8
    domain: str | None = None


def of_events(name: str, fold: int, domain: str, train_end: np.ndarray, valid_end: np.ndarray) -> Split:
    """Describe a split of one domain's events."""
    return Split(name, fold, "", train_end, valid_end, np.zeros(len(train_end), dtype=np.int8), domain)


def of_users(name: str, fold: int, user_role: np.ndarray) -> Split:
    """Describe a split of the users; how many events each has is filled in when it is read for a domain."""
    nothing = np.zeros(len(user_role), dtype=np.int64)
    return Split(name, fold, "", nothing, nothing, user_role)


def leave_one_out(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut off each user's last event to test and the one before to validate; under 3 events only train."""
    enough = counts >= 3
    return np.where(enough, counts - 2, counts), np.where(enough, counts - 1, counts)


def chain(offsets: np.ndarray, times: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Cut each user's events at c1 < c2, near 80 and 90 % of them, where the time changes.

    A cut that would part events of one time moves back to the first of them, or forward where nothing would
    be left before it. Users with fewer than three different times cannot be cut twice and only train.
    """
    found = []
    for begin, end in user_ranges(offsets):
        first, last = offsets[begin], offsets[end]
        some = None if times is None else np.array(times[first:last])
        found.append(_chain(offsets[begin : end + 1] - first, some))
        release(times)
    cut, later = zip(*found, strict=True)
    return np.concatenate(cut), np.concatenate(later)


def _chain(offsets: np.ndarray, times: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    counts = np.diff(offsets)
    cuts = _changes(offsets, times)  # (C,) absolute positions before which a cut may fall, none at a user's start
    first, last = (
        np.searchsorted(cuts, offsets[:-1]),
        np.searchsorted(cuts, offsets[1:]) - 1,
    )  # of each user's cuts
    possible = last - first >= 1
    near = [np.searchsorted(cuts, offsets[:-1] + counts * tenths // 10, side="right") - 1 for tenths in (8, 9)]
    second = np.maximum(near[1], first + 1)
    earlier = np.minimum(np.maximum(near[0], first), second - 1)
    cut = [np.append(cuts, 0)[np.where(possible, index, -1)] - offsets[:-1] for index in (earlier, second)]
    return np.where(possible, cut[0], counts), np.where(possible, cut[1], counts)


def _changes(offsets: np.ndarray, times: np.ndarray | None) -> np.ndarray:
    starts = np.zeros(offsets[-1] + 1, dtype=bool)
    starts[offsets] = True  # a user's first event, and the end
    if times is None:
        return np.flatnonzero(~starts)
    changed = np.zeros(offsets[-1] + 1, dtype=bool)
    changed[1:-1] = times[1:] != times[:-1]
    return np.flatnonzero(changed & ~starts)


def by_time(offsets: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Cut all users at the times of the events at 80 and 90 % of all; None where the times are too few.

    Nothing after a cut is ever on the side before it, so that users who come late have no training events.
    """
    if len(times) == 0:
        return None
    first, early, late = order_statistics(times, [0, len(times) * 8 // 10, len(times) * 9 // 10])
    if not first < early < late:
        return None
    return _count_before(offsets, times, early), _count_before(offsets, times, late)


def _count_before(offsets: np.ndarray, times: np.ndarray, moment: int) -> np.ndarray:
    found = []
    for begin, end in user_ranges(offsets):
        first, last = offsets[begin], offsets[end]
        running = np.concatenate([[0], np.cumsum(times[first:last] < moment)])
        found.append(running[offsets[begin + 1 : end + 1] - first] - running[offsets[begin:end] - first])
        release(times)
    return np.concatenate(found)


def folds(user_ids: "Sequence[str] | pl.Series", seed: int) -> list[np.ndarray]:
    """Divide the users into FOLDS test parts, a tenth of the others to validate: a user_role (U,) a fold.

    Users are ranked by a hash of their raw id, so that neither their order nor their rows matter.
    """
    part, order = _rank(user_ids, f"folds/{seed}") % FOLDS, np.argsort(_rank(user_ids, f"folds/{seed}/valid"))
    roles = []
    for fold in range(FOLDS):
        others = order[part[order] != fold]
        roles.append(_roles(len(user_ids), others[: len(others) // 10], np.flatnonzero(part == fold)))
    return roles


def paper(user_ids: "Sequence[str] | pl.Series", seed: int) -> list[np.ndarray]:
    """Divide the users 80/5/15 into train, valid and test, as PeterRec did; returns one user_role (U,)."""
    count = len(user_ids)
    order = np.argsort(_rank(user_ids, f"paper/{seed}"))
    first, second = count * 80 // 100, count * 85 // 100
    return [_roles(count, order[first:second], order[second:])]


def _roles(count: int, valid: np.ndarray, test: np.ndarray) -> np.ndarray:
    roles = np.zeros(count, dtype=np.int8)
    roles[valid], roles[test] = VALID, TEST
    return roles


def _rank(user_ids: "Sequence[str] | pl.Series", salt: str) -> np.ndarray:
    """Rank the users by a hash of `salt` and raw id: (U,) from 0."""
    key, hashed = hashlib.sha256(salt.encode()).digest(), hashlib.blake2b
    digests = bytearray()
    for some in texts_of(user_ids):
        digests += b"".join([hashed(user.encode(), digest_size=8, key=key).digest() for user in some])
    draws = np.frombuffer(digests, dtype="<u8")
    ranks = np.empty(len(user_ids), dtype=np.int64)
    ranks[np.argsort(draws, kind="stable")] = np.arange(len(user_ids))
    return ranks

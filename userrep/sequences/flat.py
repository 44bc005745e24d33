"""Users, labels and splits of a prepared folder as flat arrays beside its tables: training then needs no polars."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import numpy as np

from userrep.errors import DataError
from userrep.sequences.split import Split, of_events, of_users

SOME = 1 << 18  # users whose ids are texts at a time: text objects are many times the size of their bytes
USERS, SPLITS, DOMAINS = "users", "splits", "domains"


class Flat:
    """The flat arrays of a prepared folder, read as far as they are asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @staticmethod
    def written(path: Path) -> bool:
        """Say whether a prepared folder has the arrays; an earlier userrep wrote tables alone."""
        return (path / USERS).is_dir()

    def ids(self) -> list[str]:
        """Return the raw ids of the users in row order."""
        return [text for some in self.texts() for text in some]

    def texts(self) -> Iterator[list[str]]:
        """Yield the raw ids of some users at a time."""
        text, ends = load(self._path / USERS / "ids.npy"), load(self._path / USERS / "ends.npy")
        first = 0
        for start in range(0, len(ends), SOME):
            own = ends[start : start + SOME].tolist()
            piece = text[first : own[-1]].tobytes()
            yield [piece[begin - first : end - first].decode() for begin, end in pairwise([first, *own])]
            first = own[-1]

    def labels(self, name: str, place: int, classes: Sequence[str]) -> np.ndarray:
        """Return the class codes `(U,)` int64 of a label, -1 where unknown; `place` is its number among the labels."""
        return np.array(load(self._path / USERS / "labels.npy")[place], dtype=np.int64)

    def split(self, name: str, fold: int, domain: str | None, counts: np.ndarray) -> Split:
        """Return a fold of a split without its hash; no domain: users are divided. `counts` (U,) are events a user."""
        values = load(_place(self._path, name, fold, domain))
        if domain is None:
            return of_users(name, fold, np.array(values))
        return of_events(name, fold, domain, *np.array(values, dtype=np.int64))


def write_flat(
    path: Path,
    user_ids: Iterable[Sequence[str]],
    labels: Sequence[np.ndarray],
    splits: Sequence[Split],
    counts: Mapping[str, np.ndarray],
) -> None:
    """Write the arrays of a prepared folder: ids, some at a time, and `labels` (U,) of its users, and its splits.

    `counts` are the events of each user (U,) by domain. A split of events that leaves a domain out trains on all of it.
    """
    (path / USERS).mkdir()
    written, lengths = [], []
    for some in user_ids:
        encoded = [user.encode() for user in some]
        written.append(np.frombuffer(b"".join(encoded), np.uint8))
        lengths.append(np.array([len(one) for one in encoded], dtype="<i8"))
    ends = np.cumsum(np.concatenate(lengths), dtype="<i8")
    coded = np.array(labels, dtype="<i4").reshape(len(labels), len(ends))
    for stem, values in (("ids", np.concatenate(written)), ("ends", ends), ("labels", coded)):
        np.save(path / USERS / f"{stem}.npy", values)
    for split in splits:
        if split.domain is None:
            _save(_place(path, split.name, split.fold, None), split.user_role.astype("<i1"))
        else:
            cut = np.array([split.train_end, split.valid_end], dtype="<i4")
            _save(_place(path, split.name, split.fold, split.domain), cut)
    for name, fold in {(split.name, split.fold) for split in splits if split.domain is not None}:
        for domain, events in counts.items():
            if not (place := _place(path, name, fold, domain)).exists():
                _save(place, np.array([events, events], dtype="<i4"))


def _save(place: Path, values: np.ndarray) -> None:
    place.parent.mkdir(exist_ok=True)
    np.save(place, values)


def load(path: Path) -> np.ndarray:
    """Map an array into memory; raise DataError where the file is missing or damaged."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"cannot read {path}: {error}", "prepare it again: userrep preprocess --fresh") from error


def _place(path: Path, name: str, fold: int, domain: str | None) -> Path:
    folder = path if domain is None else path / DOMAINS / domain
    return folder / SPLITS / f"{quote(name, safe='')}-{fold}.npy"

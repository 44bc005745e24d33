"""Exposure: what of the data a task learns from and what it is judged by, and where those of two tasks meet."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from userrep.sequences.arrays import Merged, Sequences

Masks = Mapping[str, np.ndarray]  # of events (E,) by domain, bool


@dataclass(frozen=True)
class Exposure:
    """What one task reads and asks of a data set.

    answers   events that are answers in training, by domain
    inputs    events that are read in training, by domain
    judged    role, valid or test, to the events that are its answers, by domain
    taught    users (U,) whose label is an answer in training
    examined  role, valid or test, to the users (U,) whose label it asks for
    """

    answers: Masks = field(default_factory=dict)
    inputs: Masks = field(default_factory=dict)
    judged: Mapping[str, Masks] = field(default_factory=dict)
    taught: np.ndarray | None = None
    examined: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Leak:
    """What one task is judged by and another learns from: `share` of the first's answers of a role.

    kind  answers: they are answers in the other's training too; inputs: they are read there; labels: their users
          teach a label
    """

    kind: str
    role: str
    share: float


def united(exposures: Sequence[Exposure]) -> Exposure:
    """Return what several tasks that are learned together read and ask for."""
    taught = [each.taught for each in exposures if each.taught is not None]
    return Exposure(
        answers=_either([each.answers for each in exposures]),
        inputs=_either([each.inputs for each in exposures]),
        judged={role: _either([each.judged.get(role, {}) for each in exposures]) for role in ("valid", "test")},
        taught=np.any(taught, axis=0) if taught else None,
        examined=_either([each.examined for each in exposures]),
    )


def _either(masks: Iterable[Masks]) -> dict[str, np.ndarray]:
    """Mark what any of several masks marks, by their names."""
    found: dict[str, np.ndarray] = {}
    for name, mask in ((name, mask) for each in masks for name, mask in each.items()):
        found[name] = found[name] | mask if name in found else mask
    return found


def leaks(learner: Exposure, judge: Exposure) -> Iterator[Leak]:
    """Yield how what `judge` asks for meets what `learner` learns from; nothing where they are apart."""
    for role in ("test", "valid"):
        wanted = judge.judged.get(role, {})
        total = sum(int(mask.sum()) for mask in wanted.values())
        for kind, learned in (("answers", learner.answers), ("inputs", learner.inputs)):
            met = sum(int((mask & learned[domain]).sum()) for domain, mask in wanted.items() if domain in learned)
            if met:
                yield Leak(kind, role, met / total)
        asked = judge.examined.get(role)
        if asked is not None and learner.taught is not None and (asked & learner.taught).any():
            yield Leak("labels", role, float(learner.taught[asked].mean()))


def events_between(sequences: Sequences, begins: np.ndarray, ends: np.ndarray) -> dict[str, np.ndarray]:
    """Mark the events inside any of the ranges `[begins, ends)` (N,), which may overlap, by domain."""
    size = len(sequences.items) + 1
    edges = np.bincount(begins, minlength=size) - np.bincount(ends, minlength=size)
    return by_domain(sequences, np.cumsum(edges[:-1]) > 0)


def events_at(sequences: Sequences, places: np.ndarray) -> dict[str, np.ndarray]:
    """Mark the events at absolute `places` (N,), by domain."""
    mask = np.zeros(len(sequences.items), dtype=bool)
    mask[places] = True
    return by_domain(sequences, mask)


def by_domain(sequences: Sequences, mask: np.ndarray) -> dict[str, np.ndarray]:
    """Take a mask of events (E,) of one domain, or of two merged in order, apart by domain."""
    if not isinstance(sequences, Merged):
        return {sequences.name: mask}
    source, target = sequences.parts
    first = sequences.items < source.vocab_size  # of both domains, events keep their order when merged
    return {source.name: mask[first], target.name: mask[~first]}

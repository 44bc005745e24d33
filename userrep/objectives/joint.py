"""Joint: several tasks learned together, one encoder and a head for each (the multi-task control of Conure, MTL)."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from userrep.errors import UsageError
from userrep.evaluation.results import OVERALL, JointResult
from userrep.models.encoder import Encoder
from userrep.objectives.objective import Objective
from userrep.objectives.parts import Parts
from userrep.sequences.batches import Batch, Cases, Feed, Order
from userrep.sequences.exposure import leaks
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared, Sequences


class Interleaved:
    """Feed several tasks: an epoch has every batch of each once, all in one random order.

    The index of a batch is that of its part's own feed with the part's number before each row: (B,) becomes (B, 2).
    """

    def __init__(self, feeds: Mapping[str, Feed]) -> None:
        self.feeds = dict(feeds)

    def order(self, rng: np.random.Generator) -> Order:
        """Draw the order of each part from a stream of its own, then how the batches follow each other."""
        streams = rng.spawn(len(self.feeds))
        drawn = [feed.order(own) for feed, own in zip(self.feeds.values(), streams, strict=True)]
        batches = [_of_part(part, index) for part, order in enumerate(drawn) for index in order]
        return [batches[place] for place in rng.permutation(len(batches))]

    def batch(self, index: np.ndarray) -> Batch:
        """Make a batch of the part that its index names."""
        name, own = list(self.feeds)[index[0, 0]], index[:, 1:]
        made = self.feeds[name].batch(own[:, 0] if own.shape[1] == 1 else own)
        return replace(made, part=name)


def _of_part(part: int, index: np.ndarray) -> np.ndarray:
    return np.column_stack([np.full(len(index), part), index])


def _asked_of(part: Objective) -> str:
    return part.task_name if part.metric == type(part).metric else f"{part.task_name} by {part.metric}"


class Joint(Parts):
    """Learn several tasks at once: each step is a batch of one of them, and its loss is that task's own.

    The name of a part begins the names of its metrics. The epoch is chosen by `overall` (`JointResult`), made of the
    metrics by which the parts choose theirs. The rest is in `Parts`.
    """

    kind = "joint"
    asked = ""  # the part of the last loss
    metric = OVERALL

    @property
    def task_name(self) -> str:
        """Name the tasks, and what a part is judged by where that is not as usual: `overall` is made of it."""
        return "+".join(map(_asked_of, self.parts.values()))

    @property
    def splits(self) -> tuple[str, ...]:
        """Name whatever a part is judged by."""
        return tuple(dict.fromkeys(split for part in self.parts.values() for split in part.splits))

    def inputs(self, data: Prepared, protocol: Protocol) -> Sequences:
        """Return what the part reads that reads most, the ids of which are those of the others and more."""
        return self._widest(data, protocol).inputs(data, protocol)

    def extra_items(self, data: Prepared, protocol: Protocol) -> int:
        return self._widest(data, protocol).extra_items(data, protocol)

    def slice_values(self, data: Prepared, protocol: Protocol, cases: Cases) -> dict[str, np.ndarray]:
        """Return nothing: the cases of different tasks make no slice together."""
        return {}

    def cases(self, data: Prepared, protocol: Protocol, role: str) -> Cases:
        """Return the cases of all parts, part after part; the ends of each are in what it reads itself."""
        found = [part.cases(data, protocol, role) for part in self.parts.values()]
        rows, ends, targets = (
            np.concatenate([getattr(one, name) for one in found]) for name in ("rows", "ends", "targets")
        )
        return Cases(rows, ends, targets)

    def feed(self, data: Prepared, protocol: Protocol, users: np.ndarray, length: int, batch_size: int) -> Interleaved:
        """Feed the batches of all parts; `length` is that of windows, whole histories are as long as the protocol's."""
        self._check_apart(data, protocol, users)
        return Interleaved(
            {
                name: part.feed(data, protocol, users, _length_of(part, length, protocol), batch_size)
                for name, part in self.parts.items()
            }
        )

    @property
    def divisible(self) -> bool:
        return all(part.divisible for part in self.parts.values())

    @property
    def terms(self) -> int | None:
        return self.parts[self.asked].terms if self.divisible else None

    def loss(self, encoder: Encoder, batch: Batch, generator: torch.Generator) -> Tensor:
        assert batch.part is not None
        self.asked = batch.part
        return self.weights[batch.part] * self.parts[batch.part].loss(encoder, batch, generator)

    def scores(self, encoder: Encoder, items: Tensor) -> Tensor:
        """Return the answers of all parts, side by side."""
        return torch.cat([part.scores(encoder, items) for part in self.parts.values()], dim=1)

    def evaluate(
        self, encoder: Encoder, data: Prepared, protocol: Protocol, role: str, users: np.ndarray | None = None
    ) -> JointResult:
        found = {name: part.evaluate(encoder, data, protocol, role, users) for name, part in self.parts.items()}
        return JointResult.of(found, {name: part.metric for name, part in self.parts.items()})

    def cached(self, feed: Feed, encoder: Encoder, data: Prepared, protocol: Protocol) -> Feed:
        assert isinstance(feed, Interleaved)
        feeds = {name: part.cached(feed.feeds[name], encoder, data, protocol) for name, part in self.parts.items()}
        return Interleaved(feeds)

    def _widest(self, data: Prepared, protocol: Protocol) -> Objective:
        """Return the part whose histories hold items beyond the source domain, the first where none does."""
        wide = [part for part in self.parts.values() if part.extra_items(data, protocol)]
        names = sorted({part.inputs(data, protocol).name for part in wide})
        if len(names) > 1:
            raise UsageError(f"parts read {' and '.join(names)}", "join tasks that read one domain beside the source")
        return next(iter(wide or self.parts.values()))

    def _check_apart(self, data: Prepared, protocol: Protocol, users: np.ndarray) -> None:
        """Raise UsageError where one part would learn what another is judged by."""
        said = {name: part.exposure(data, protocol, users) for name, part in self.parts.items()}
        for learner, judge in permutations(said, 2):
            for leak in leaks(said[learner], said[judge]):
                raise UsageError(
                    f"part {learner} learns from {leak.share:.1%} of what part {judge} is asked for in {leak.role}",
                    "join tasks that keep to one cut, such as chain_liked, or a label with until=cut",
                )


def _length_of(part: Objective, length: int, protocol: Protocol) -> int:
    """Return how long the inputs of a task are in training: windows are cut, a label is told by a whole history."""
    return protocol.history if part.kind == "classification" else length

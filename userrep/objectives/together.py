"""Together: several objectives learned from the same batches, one of which leads."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from userrep.errors import ConfigError, suggest
from userrep.evaluation.results import Metrics, Result
from userrep.models.encoder import Encoder
from userrep.objectives.objective import Objective
from userrep.objectives.parts import Parts
from userrep.sequences.batches import Batch, Cases, Feed
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared, Sequences


class Together(Parts):
    """Learn several objectives at once: the loss of a batch is the weighted sum of all that the parts make of it.

    lead  the part that makes the batches and that answers, so that all numbers are those of this part, and the epoch is
          chosen by its metric; the first part where none is named

    The rest is in `Parts`. Raises ConfigError where a part cannot learn from the batches of the one that leads.
    """

    def __init__(
        self, parts: Mapping[str, Objective], weights: Mapping[str, float] | None = None, lead: str | None = None
    ) -> None:
        super().__init__(parts, weights)
        self.lead = next(iter(self.parts)) if lead is None else lead
        if self.lead not in self.parts:
            raise ConfigError(f"there is no part '{self.lead}' to lead", suggest(self.lead, self.parts))
        self.kind, self.metric, self.maximise = self.leader.kind, self.leader.metric, self.leader.maximise
        self.chooses = self.leader.chooses
        self._check_batches()

    @property
    def leader(self) -> Objective:
        """Return the part that leads."""
        return self.parts[self.lead]

    @property
    def followers(self) -> dict[str, Objective]:
        """Return the other parts by name."""
        return {name: part for name, part in self.parts.items() if name != self.lead}

    @property
    def task_name(self) -> str:
        return self.leader.task_name

    @property
    def splits(self) -> tuple[str, ...]:
        """Name what the leading part is judged by."""
        return self.leader.splits

    def inputs(self, data: Prepared, protocol: Protocol) -> Sequences:
        return self.leader.inputs(data, protocol)

    def extra_items(self, data: Prepared, protocol: Protocol) -> int:
        return self.leader.extra_items(data, protocol)

    def slice_values(self, data: Prepared, protocol: Protocol, cases: Cases) -> dict[str, np.ndarray]:
        return self.leader.slice_values(data, protocol, cases)

    def cases(self, data: Prepared, protocol: Protocol, role: str) -> Cases:
        return self.leader.cases(data, protocol, role)

    def feed(self, data: Prepared, protocol: Protocol, users: np.ndarray, length: int, batch_size: int) -> Feed:
        """Return the feed of the leading part; the others make theirs too, from which their samplers learn."""
        feeds = {name: part.feed(data, protocol, users, length, batch_size) for name, part in self.parts.items()}
        return feeds[self.lead]

    def cached(self, feed: Feed, encoder: Encoder, data: Prepared, protocol: Protocol) -> Feed:
        return self.leader.cached(feed, encoder, data, protocol)

    def loss(self, encoder: Encoder, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the weighted sum of the parts' losses, which draw one after the other, as they are named."""
        losses = {name: self.weights[name] * part.loss(encoder, batch, generator) for name, part in self.parts.items()}
        self.told = {name: loss.detach() for name, loss in losses.items()}
        return torch.stack(list(losses.values())).sum()

    def scores(self, encoder: Encoder, items: Tensor) -> Tensor:
        return self.leader.scores(encoder, items)

    def evaluate(
        self, encoder: Encoder, data: Prepared, protocol: Protocol, role: str, users: np.ndarray | None = None
    ) -> Result:
        return self.leader.evaluate(encoder, data, protocol, role, users)

    def validate(self, encoder: Encoder, data: Prepared, protocol: Protocol, users: np.ndarray) -> Metrics:
        """Return the metrics of the leading part as it names them, and those of the others as `part/metric`."""
        found = self.leader.validate(encoder, data, protocol, users)
        for name, part in self.followers.items():
            own = part.validate(encoder, data, protocol, users)
            found |= {f"{name}/{metric}": value for metric, value in own.items()}
        return found

    def _check_batches(self) -> None:
        """Raise ConfigError where the batches of the leading part are not what another's loss reads."""
        if unfit := self._unfit(self.lead):
            able = [name for name in self.parts if not self._unfit(name)]
            raise ConfigError(
                f"part {unfit[0]} cannot learn from the batches of part {self.lead}: they do not hold what it asks for",
                f"let part {able[0]} lead" if able else "join it with what reads items alone, such as clue",
            )

    def _unfit(self, lead: str) -> list[str]:
        """Name the parts that could not learn from the batches of part `lead`."""
        made = self.parts[lead].takes or Batch
        taken = {name: part.takes for name, part in self.parts.items() if name != lead}
        return [name for name, kind in taken.items() if kind is None or not issubclass(made, kind)]

"""Growth: rows in the stem's table for items that a pre-trained encoder has never met."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from userrep.errors import UsageError
from userrep.methods.method import Phase
from userrep.methods.surgery import names_of
from userrep.models.encoder import Encoder
from userrep.models.rows import RowTable
from userrep.models.stem import truncated_normal_
from userrep.objectives.objective import Objective
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared


class GrownTable(nn.Module):
    """An item table with `rows` of its own for the ids past the end of `inner`; `name` says whose items they are."""

    def __init__(self, inner: nn.Module, rows: int, name: str) -> None:
        super().__init__()
        assert isinstance(inner.weight, Tensor)
        self.known, width = inner.weight.shape
        self.inner, self.name = inner, name
        self.fresh = RowTable(rows, width)
        truncated_normal_(self.fresh.weight)

    @property
    def weight(self) -> Tensor:
        """Return the whole table (V, D)."""
        assert isinstance(self.inner.weight, Tensor)
        return torch.cat([self.inner.weight, self.fresh.weight])

    def forward(self, items: Tensor) -> Tensor:
        """Look items up: `(B, T)` -> `(B, T, D)`."""
        old = items < self.known
        known, fresh = self.inner(items.where(old, 0)), self.fresh((items - self.known).clamp_min(0))
        return torch.where(old.unsqueeze(-1), known, fresh)


def grow_for(encoder: Encoder, objective: Objective, data: Prepared, protocol: Protocol) -> GrownTable | None:
    """Give the encoder rows for the items that the histories of an objective hold beyond its vocabulary.

    What is known keeps its ids and its vectors, and `vocab_size` stays what the source domain has. Returns what was
    added; None where nothing is missing, as for a base that was grown for the same items before.

    Raises UsageError for a base that was grown for others: their ids are taken.
    """
    extra = objective.extra_items(data, protocol)
    if extra == 0:
        return None
    name = objective.inputs(data, protocol).name
    before = [module.name for module in encoder.stem.table.modules() if isinstance(module, GrownTable)]
    if name in before:
        return None
    if before:
        raise UsageError(
            f"the base has grown to read {before[0]}, and {objective.task_name} reads {name}",
            "start from a base that read the source domain alone",
        )
    grown = GrownTable(encoder.stem.table, extra, name)
    encoder.stem.table = grown
    return grown


def with_growth(encoder: Encoder, phases: Sequence[Phase], grown: GrownTable | None) -> list[Phase]:
    """Let every phase train the rows that were added, whatever its method trains: nothing else would ever move them."""
    if grown is None:
        return list(phases)
    fresh = names_of(encoder, [grown.fresh])
    return [replace(phase, trainable=(*phase.trainable, *fresh)) for phase in phases]

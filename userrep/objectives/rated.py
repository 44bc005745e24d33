"""Rated: rank what a user will rate high after a cut, within one domain; a control beside cross-domain tasks."""

from typing import Any, ClassVar

import numpy as np

from userrep.objectives.target_items import TargetCases, TargetItems
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared

NAMES = {4.0: "liked", 5.0: "loved"}


class Rated(TargetItems):
    """Events after the cut that were rated `min_rating` or more are asked for by all events before the cut.

    The cut is the one before validation of `protocol.events`, of `chain` for results. The base must have been
    pre-trained with the same `protocol.events`, so that it has seen no event after the cut.
    """

    USUAL: ClassVar[dict[str, Any]] = TargetItems.USUAL | {"which": "all"}

    def __init__(self, min_rating: float = 4.0, **own: Any) -> None:
        super().__init__(min_rating=min_rating, **own)

    @property
    def splits(self) -> tuple[str, ...]:
        return ("events", *super().splits)

    @property
    def kind_of_task(self) -> str:
        assert self.min_rating is not None
        return NAMES.get(self.min_rating, f"rated_{self.min_rating:g}")

    def collect(self, data: Prepared, protocol: Protocol) -> tuple[TargetCases, str]:
        sequences = self.inputs(data, protocol)
        owners, cut = sequences.owners(), data.split(protocol.events, domain=protocol.source).train_end
        places = np.arange(len(owners)) - sequences.offsets[owners]
        after = (places >= cut[owners]) & self.rated_enough(sequences.ratings, sequences.name)
        asked = self.first_of_each(owners, after)
        chosen = np.flatnonzero(asked & (cut[owners] >= self.min_history))
        rows = owners[chosen]
        ends, items = sequences.offsets[rows] + cut[rows], np.asarray(sequences.items[chosen], dtype=np.int64)
        missing = int(asked.sum()) - len(chosen)
        told = f"left out: {missing:,} targets of users with fewer than {self.min_history} events before the cut"
        return TargetCases(rows, ends, items, chosen), told if missing else ""

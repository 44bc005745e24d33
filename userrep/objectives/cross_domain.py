"""Cross-domain: rank the items of a target domain for users known by what they did in the source domain."""

from typing import Any, ClassVar

import numpy as np

from userrep.errors import ConfigError, DataError
from userrep.objectives.classify import UNTIL
from userrep.objectives.target_items import TargetCases, TargetItems, choose
from userrep.sequences.overlap import count_earlier
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared, Sequences
from userrep.sequences.vocab import RESERVED

HISTORIES = ("source", "both")
CUTS = ("order", "time")


class CrossDomain(TargetItems):
    """Each event of the target domain is asked for by the events that its user had before it (PeterRec, spec 2, 5).

    target   the domain whose items are ranked; None where the data set has but one beside the source
    history  source: source events only; both: target events too, whose items then get rows in the stem's table
    cut      what is before: order: an earlier place in the order over all domains; time: a smaller time
    until    what of the source is read: end, all before the target; cut, what lies before the first cut of
             `protocol.events` too, so that nothing is read that another task of a chain asks for
    The rest is in `TargetItems`; `min_history` counts source events.
    """

    USUAL: ClassVar[dict[str, Any]] = TargetItems.USUAL | {
        "target": None, "history": "source", "cut": "order", "until": "end", "min_rating": None,
    }  # fmt: skip

    def __init__(
        self,
        target: str | None = None,
        which: str = "all",
        history: str = "source",
        cut: str = "order",
        until: str = "end",
        **own: Any,
    ) -> None:
        super().__init__(which=which, **own)
        for name, value, known in (("history", history, HISTORIES), ("cut", cut, CUTS), ("until", until, UNTIL)):
            choose(name, value, known)
        if history == "both" and which == "first" and self.min_rating is None:
            raise ConfigError(
                "nothing of the target domain comes before a first target: history=both is history=source",
                "set task.history=source, or task.which=all",
            )
        if history == "both" and until == "cut":
            raise ConfigError(
                "task.until=cut ends the source's history before the target's, and history=both reads them as one",
                "set task.history=source, or task.until=end",
            )
        self.target, self.history, self.cut, self.until = target, history, cut, until

    @property
    def splits(self) -> tuple[str, ...]:
        return super().splits if self.until == "end" else ("events", *super().splits)

    @property
    def kind_of_task(self) -> str:
        return "cold_first" if self.which == "first" else "cold_k"

    def inputs(self, data: Prepared, protocol: Protocol) -> Sequences:
        if self.history == "source":
            return data.sequences(protocol.source)
        return data.merged(protocol.source or data.main, self.target_domain(data, protocol))

    def extra_items(self, data: Prepared, protocol: Protocol) -> int:
        return 0 if self.history == "source" else self.targets(data, protocol).vocab_size - RESERVED

    def targets(self, data: Prepared, protocol: Protocol) -> Sequences:
        return data.sequences(self.target_domain(data, protocol))

    def target_domain(self, data: Prepared, protocol: Protocol) -> str:
        """Return the domain whose items are ranked.

        Raises DataError where the data set has no other domain than the source, ConfigError where it has several and
        none was named, or the source was.
        """
        source = protocol.source or data.main
        others = [name for name in data.domains if name != source]
        if not others:
            raise DataError(
                f"{data.name} has no domain but {source}: nothing can be ranked in another",
                "choose a task of one domain, such as task=next_item, or data of two domains",
            )
        if self.target == source or (self.target is None and len(others) > 1):
            what = "the source itself" if self.target else "not set, and there are several"
            raise ConfigError(f"task.target is {what}", f"choose from {', '.join(others)}")
        return self.target or others[0]

    def collect(self, data: Prepared, protocol: Protocol) -> tuple[TargetCases, str]:
        source, target = protocol.source or data.main, self.target_domain(data, protocol)
        before, wanted = data.ordered(source, target)
        owners = wanted.owners()
        shared = (np.diff(before.offsets) > 0)[owners]
        if not shared.any():
            raise DataError(
                f"{source} and {target} share no user of {data.name}", "give users who have events in both one id"
            )
        earlier, met = self._before(data, before, wanted)
        if self.until == "cut":
            earlier = np.minimum(earlier, data.split(protocol.events, domain=source).train_end[owners])
        asked = self.first_of_each(owners, shared & self.rated_enough(wanted.ratings, target))
        chosen = np.flatnonzero(asked & (earlier >= self.min_history))
        rows, met = owners[chosen], wanted.offsets[owners[chosen]] + met[chosen]
        ends = self.inputs(data, protocol).offsets[rows] + earlier[chosen]
        ends = ends if self.history == "source" else ends + met - wanted.offsets[rows]
        cases = TargetCases(rows, ends, np.asarray(wanted.items[chosen], dtype=np.int64), met)
        return cases, self._left_out(int(asked.sum()), len(chosen), source, target)

    def _before(self, data: Prepared, before: Sequences, wanted: Sequences) -> tuple[np.ndarray, np.ndarray]:
        """Count the source and the target events before each target event, `(E,)` each."""
        if self.cut == "order":
            return count_earlier(before, wanted), np.arange(len(wanted.items)) - wanted.offsets[wanted.owners()]
        if before.times is None or wanted.times is None:
            raise DataError(f"{data.name} has no times to cut at", "set task.cut=order")
        return count_earlier(before, wanted, strictly=True), count_earlier(wanted, wanted, strictly=True)

    def _left_out(self, asked: int, kept: int, source: str, target: str) -> str:
        if asked == kept:
            return ""
        least = f"no {source} event" if self.min_history == 1 else f"fewer than {self.min_history} {source} events"
        return f"left out: {asked - kept:,} of {asked:,} {target} targets have {least} before them"

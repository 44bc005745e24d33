"""Memory: the parts of what a training will hold at its fullest, and what of it lives at another time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from userrep.planning.ledger import Operation, Stage
from userrep.planning.rehearsal import ACTIVATIONS, BACKWARD, LOSS, UPDATE, Counted

GRADIENTS, OPTIMIZER = "gradients", "optimiser state"
LASTS = (GRADIENTS, OPTIMIZER)


@dataclass(frozen=True)
class Row:
    """A part: `size` in bytes, and whether it is there when memory is fullest."""

    what: str
    size: int
    together: bool = True
    training: bool = True  # whether it is of the training, not of what lies around it


@dataclass(frozen=True)
class Memory:
    """All parts, and the memory of the device that they are for, where it is known."""

    rows: tuple[Row, ...]
    there: int | None

    @property
    def total(self) -> int:
        """The bytes of all that lives together."""
        return sum(row.size for row in self.rows if row.together)

    @property
    def of_training(self) -> int:
        """The bytes of weights, a step and what replaces it, without what is around them."""
        return sum(row.size for row in self.rows if row.together and row.training)

    @property
    def fits(self) -> bool | None:
        """Whether there is enough, None where that is not known."""
        return None if self.there is None else self.total <= self.there

    def share(self, row: Row) -> float | None:
        """Return a part's share of all that lives together, None of what does not."""
        return row.size / max(1, self.total) if row.together else None


def parts_of_step(counted: Counted, gradients: int, optimizer: int, elsewhere: int = 0) -> list[Row]:
    """Return what a step makes live when it has most, gradients and optimiser state as their shapes have them.

    The step was counted with all of the `optimizer`'s bytes, of which so many lie `elsewhere` in the training itself.
    """
    tags = counted.widest.tags
    in_flight = tags.get(BACKWARD, 0)
    own = min(gradients, in_flight)
    return [
        Row(GRADIENTS, own),
        Row(OPTIMIZER, optimizer - elsewhere),
        Row("activations", tags.get(ACTIVATIONS, 0)),
        Row("loss: logits, workspace, what it keeps", tags.get(LOSS, 0)),
        Row("backward pass: what it makes on its way", in_flight - own + max(0, tags.get(UPDATE, 0) - optimizer)),
    ]


def fullest(step: Sequence[Row], others: Sequence[Row]) -> list[Row]:
    """Put the step's parts beside what lives at other times, when of the step only what LASTS is left.

    Where one of the others exceeds what passes with the step, it is there when memory is fullest, in its place.
    """
    passing = sum(row.size for row in step if row.what not in LASTS)
    most = max(others, key=lambda row: row.size)
    instead = most.size > passing
    return [
        *(replace(row, together=row.what in LASTS or not instead) for row in step),
        *(replace(row, together=instead and row is most) for row in others),
    ]


def extended(small: Counted, large: Counted, users: int) -> Counted:
    """Draw the line through two counted steps on to one of so many users, stage by stage and tag by tag.

    Operations are stretched with it, one by one, those of the larger step standing for all.
    """
    if users == large.users or large.users == small.users:
        return large
    ahead = (users - large.users) / (large.users - small.users)
    stages = {}
    for name, stage in large.stages.items():
        before = small.stages[name]
        tags = {tag: _on(before.tags.get(tag, 0), size, ahead) for tag, size in stage.tags.items()}
        stages[name] = Stage(sum(tags.values()), tags, _stretched(before.operations, stage.operations, ahead))
    return Counted(users, _on(small.cells, large.cells, ahead), stages)


def _stretched(before: list[Operation], now: list[Operation], ahead: float) -> list[Operation]:
    """Stretch all operations alike, so that their sums lie on the line."""
    sums = [(sum(one.flops for one in part), sum(one.traffic for one in part)) for part in (before, now)]
    turns = max(1, round(_on(len(before), len(now), ahead) / max(1, len(now))))
    flops, traffic = (_on(first, second, ahead) / max(1, second) / turns for first, second in zip(*sums, strict=True))
    return [Operation(round(one.flops * flops), round(one.traffic * traffic)) for one in now * turns]


def _on(before: float, now: float, ahead: float) -> int:
    return max(0, round(now + (now - before) * ahead))

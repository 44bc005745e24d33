"""Search spaces: values of a command that are drawn rather than counted out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from userrep.composition import alternatives
from userrep.errors import UsageError
from userrep.sweep.words import Override, parts

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = str | int | float
KINDS = {"log": (float, True), "float": (float, False), "int": (int, False), "logint": (int, True)}
GRAMMAR = "write KEY=a,b, KEY=log:LOW:HIGH, KEY=float:LOW:HIGH[:STEP], KEY=int:LOW:HIGH[:STEP] or KEY=logint:LOW:HIGH"


@dataclass(frozen=True)
class Choice:
    """One of several values, as they were written."""

    values: tuple[str, ...]

    @property
    def ends(self) -> tuple[Value, ...]:
        """All values."""
        return self.values

    def distribution(self) -> "BaseDistribution":
        """Return what Optuna draws from."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)


@dataclass(frozen=True)
class Interval:
    """A number from `low` to `high`, both included, whole or not, by its logarithm or not, in steps or not."""

    low: float
    high: float
    whole: bool
    log: bool
    step: float | None = None

    @property
    def ends(self) -> tuple[Value, ...]:
        """Its two ends."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    def distribution(self) -> "BaseDistribution":
        """Return what Optuna draws from."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)


@dataclass(frozen=True)
class Space:
    """A command, and what is drawn in it by key."""

    template: tuple[str | Override, ...]
    dimensions: Mapping[str, Choice | Interval]

    def words(self, values: Mapping[str, Value]) -> tuple[str, ...]:
        """Return the command with drawn values in it."""
        return tuple(word for part in self.template for word in self._spelled(part, values))

    def corners(self) -> Iterator[dict[str, Value]]:
        """Yield points that together have every value of a choice and both ends of an interval."""
        first = {key: dimension.ends[0] for key, dimension in self.dimensions.items()}
        yield first
        for key, dimension in self.dimensions.items():
            yield from (first | {key: value} for value in dimension.ends[1:])

    def _spelled(self, part: str | Override, values: Mapping[str, Value]) -> tuple[str, ...]:
        if isinstance(part, str):
            return (part,)
        value = values.get(part.key, part.value)
        return part.words(value if isinstance(value, str) else repr(value))


def space_of(words: Sequence[str]) -> Space:
    """Return the search space of a command.

    Raises:
        UsageError: nothing in it is to be drawn, a range is none, or the seed is searched.
    """
    template = tuple(parts(words))
    found: dict[str, Choice | Interval] = {}
    for part in template:
        dimension = None if isinstance(part, str) else _dimension(part)
        if dimension is not None and isinstance(part, Override):
            if part.key == "seed":
                raise UsageError("a search over seeds would choose a lucky one", "give one seed, or leave --search out")
            found[part.key] = dimension
    if not found:
        raise UsageError("there is nothing to search in this command", GRAMMAR)
    return Space(template, found)


def _dimension(part: Override) -> Choice | Interval | None:
    kind, separator, rest = part.value.partition(":")
    if separator and kind in KINDS:
        return _interval(part, kind, rest.split(":"))
    values = [text.partition("=")[2] for text in alternatives(part.text)]
    return Choice(tuple(dict.fromkeys(values))) if values else None


def _interval(part: Override, kind: str, texts: Sequence[str]) -> Interval:
    number, log = KINDS[kind]
    try:
        low, high, *more = [number(text) for text in texts]
    except ValueError:
        low, high, more = 0, 0, []
    if not low < high or len(more) > 1 or (more and (log or more[0] <= 0)) or (log and low <= 0):
        raise UsageError(f"{part.text} is no range", f"{GRAMMAR}; LOW below HIGH, above 0 by the logarithm")
    return Interval(low, high, number is int, log, more[0] if more else None)

"""Axes: a command with lists in it stands for the product of their values."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from userrep.composition import alternatives
from userrep.sweep.trial import Trial, slug
from userrep.sweep.words import NAME, SUGAR, Override, parts


@dataclass(frozen=True)
class Axis:
    """A word of a command that stands for several: its key, and for each value the words and the text of it."""

    key: str
    values: tuple[tuple[tuple[str, ...], str], ...]

    @property
    def lists(self) -> bool:
        """Whether it is a list; else it is a word as it stands."""
        return bool(self.key)


def trials(words: Sequence[str]) -> list[Trial]:
    """Return the trials of a command, the last list changing fastest; one where there is no list.

    Raises:
        ConfigError: a list cannot be read, or cannot be counted out.
    """
    axes = [_axis(part) for part in parts(words)]
    lists = [axis for axis in axes if axis.lists]
    found: dict[tuple[str, ...], Trial] = {}
    for chosen in product(*(axis.values for axis in axes)):
        command = tuple(word for spelled, _ in chosen for word in spelled)
        values = {axis.key: text for axis, (_, text) in zip(axes, chosen, strict=True) if axis.lists}
        found.setdefault(command, Trial(command, name_of(values) if lists else str(words[0]), values))
    return list(found.values())


def name_of(values: dict[str, str]) -> str:
    """Return a short name for a place on the axes: `peterrec-gender-s0`, `lora-lr0.01`."""
    return "-".join(slug(f"{_short(key)}{text}") for key, text in values.items())


def _short(key: str) -> str:
    last = key.lstrip("+~").rpartition(".")[2]
    return {"seed": "s"}.get(last, "" if last in (*SUGAR, NAME) else last)


def _axis(part: str | Override) -> Axis:
    if isinstance(part, str):
        return Axis("", (((part,), ""),))
    values = [text.partition("=")[2] for text in alternatives(part.text)]
    if not values:
        return Axis("", ((part.words(part.value), ""),))
    return Axis(part.key, tuple((part.words(value), value) for value in values))

"""Words: what a command line says, in the parts that a sweep may change."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SUGAR = ("method", "task", "dataset", "model", "seed")
NAME = "name"  # the key of the name behind a verb, as of `baseline majority`
_NAMES = re.compile(r"[\w-]+(,[\w-]+)+")
_OVERRIDE = re.compile(r"[~+]{0,2}[A-Za-z_][\w.]*=.*", re.DOTALL)


@dataclass(frozen=True)
class Override:
    """A key and a value of a command, as an override or as a flag that is short for one."""

    key: str
    value: str
    flag: tuple[str, ...]  # how the flag was written: ("--seed",) before its value, ("--seed=",) joined to it

    @property
    def text(self) -> str:
        """Both, as an override."""
        return f"{self.key}={self.value}"

    def words(self, value: str) -> tuple[str, ...]:
        """Return the words that give the key another value."""
        if self.key == NAME:
            return (value,)
        if not self.flag:
            return (f"{self.key}={value}",)
        return (f"{self.flag[0]}{value}",) if self.flag[0].endswith("=") else (self.flag[0], value)


def parts(words: Sequence[str]) -> list[str | Override]:
    """Split a command into overrides, flags that are short for one among them, and all its other words.

    A list of names right behind the verb, as of `baseline majority,popularity`, is an override of `name`.
    """
    found: list[str | Override] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        flag, joined, value = word.partition("=")
        if flag.removeprefix("--") in SUGAR and word.startswith("--") and (joined or waiting):
            name = flag.removeprefix("--")
            found.append(Override(name, value, (f"{flag}=",)) if joined else Override(name, waiting.pop(0), (flag,)))
        elif len(found) == 1 and _NAMES.fullmatch(word):
            found.append(Override(NAME, word, ()))
        elif _OVERRIDE.fullmatch(word):
            found.append(Override(flag, value, ()))
        else:
            found.append(word)
    return found


def named_run(words: Sequence[str]) -> Path | None:
    """Return the folder that a command names with `--run`."""
    for index, word in enumerate(words):
        if word == "--run" and index + 1 < len(words):
            return Path(words[index + 1])
        if word.startswith("--run="):
            return Path(word.partition("=")[2])
    return None


def mentions(words: Sequence[str], run: Path) -> bool:
    """Say whether a command names a run that it does not make itself."""
    return os.path.normpath(run) in paths(words)


def paths(words: Sequence[str]) -> set[str]:
    """Return whatever in a command may be a path, but that of the run that it makes."""
    own = named_run(words)
    found = {os.path.normpath(word.partition("=")[2] if word.startswith("--") else word) for word in words}
    return found - ({os.path.normpath(own)} if own is not None else set())

"""A trial: one ordinary command of a sweep, and what it is called."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from userrep.files import digest
from userrep.sweep.words import SUGAR, Override, parts

AGAIN = ("--fresh", "--resume", "--json")  # say how a command is given, not what it makes
_LONGEST = 80  # letters of a name in a path


@dataclass(frozen=True)
class Trial:
    """The words behind `userrep`; its values on the axes; what it waits for; what its check found out.

    words   the command
    name    what it is called in tables, errors and paths
    values  its place on the axes of the sweep, by axis
    needs   keys of the trials that make a run which this one names
    run     where its run goes, as far as that is known before it begins
    config  the digest of its resolved config, None where that is not known before it begins
    """

    words: tuple[str, ...]
    name: str
    values: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    run: Path | None = None
    config: str | None = None

    @cached_property
    def key(self) -> str:
        """What tells the command from all others, whatever sweep it is part of."""
        return digest([word for word in self.words if word not in AGAIN])[:8]

    @property
    def folder(self) -> str:
        """The name of the folder of its traces, which hangs on the command alone."""
        return f"{slug(label(self.words))}-{self.key}"

    @property
    def command(self) -> str:
        """What one would type."""
        return shlex.join(["userrep", *self.words])


def slug(name: str) -> str:
    """Return a name as a part of a path: letters, digits and `._=+-`."""
    return re.sub(r"[^\w.=+-]+", "_", name)[:_LONGEST].strip("_.") or "trial"


def label(words: Sequence[str]) -> str:
    """Return the verb of a command and what it chooses, as `transfer-peterrec-gender-s0`: the same in every sweep."""
    chosen = (part for part in parts(words[1:]) if isinstance(part, Override))
    named = {part.key: f"{'s' if part.key == 'seed' else ''}{part.value}" for part in chosen if part.key in SUGAR}
    return "-".join([*words[:1], *(named[key] for key in SUGAR if key in named)])

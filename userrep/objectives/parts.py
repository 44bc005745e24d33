"""Parts: what objectives share that are made of others, by name, with one encoder and a head for each."""

import re
from collections import Counter
from collections.abc import Mapping

import numpy as np
from torch import nn

from userrep.errors import ConfigError
from userrep.models.encoder import Encoder
from userrep.objectives.objective import Objective
from userrep.sequences.exposure import Exposure, united
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared

NAME = re.compile(r"[a-z][a-z0-9_]*")


class Parts(Objective):
    """Be learned by several objectives, whose losses are weighed.

    parts    the objectives by name
    weights  by which the losses of parts are multiplied, 1 where a part is not named

    Raises ConfigError where a name or a weight cannot be, or no encoder can learn all parts.
    """

    def __init__(self, parts: Mapping[str, Objective], weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        if not parts:
            raise ConfigError("a joint task has no parts", "give task.parts: a name and a task for each")
        for name, part in parts.items():
            if not NAME.fullmatch(name) or hasattr(nn.ModuleDict(), name):
                raise ConfigError(f"'{name}' cannot name a part", "take small letters, digits and _, such as liked")
            if not isinstance(part, Objective) or isinstance(part, Parts):
                raise ConfigError(f"part {name} is no task that can be joined", "give a task, and no joint one")
        for name, weight in (weights or {}).items():
            if name not in parts:
                raise ConfigError(f"there is no part '{name}' to weigh", f"choose from {', '.join(parts)}")
            if not 0 < weight < float("inf"):
                raise ConfigError(f"the weight of part {name} is {weight}", "give a positive number")
        self.heads = nn.ModuleDict(parts)
        self.weights = {name: 1.0 for name in parts} | dict(weights or {})
        self.needs_causal = self._direction()
        self.reads_users = any(part.reads_users for part in parts.values())
        self.least = sum(self.weights[name] * part.least for name, part in parts.items())

    @property
    def parts(self) -> dict[str, Objective]:
        """Return the objectives by name."""
        return {name: part for name, part in self.heads.items() if isinstance(part, Objective)}

    def check_encoder(self, encoder: Encoder) -> None:
        for part in self.parts.values():
            part.check_encoder(encoder)

    def setup(self, encoder: Encoder, data: Prepared, protocol: Protocol) -> None:
        for part in self.parts.values():
            part.setup(encoder, data, protocol)

    def exposure(self, data: Prepared, protocol: Protocol, users: np.ndarray) -> Exposure:
        return united([part.exposure(data, protocol, users) for part in self.parts.values()])

    def read_by_row(self, encoder: Encoder) -> list[nn.Parameter]:
        """Return the parts' own tables that are read so, and those of the encoder that every part reads so."""
        found = [table for part in self.parts.values() for table in part.read_by_row(encoder)]
        shared = {id(table): table for table in encoder.stem.tables()}
        times = Counter(id(table) for table in found)
        own = [table for table in found if id(table) not in shared]
        return own + [table for key, table in shared.items() if times[key] == len(self.parts)]

    def forget(self) -> None:
        for part in self.parts.values():
            part.forget()

    def _direction(self) -> bool | None:
        """Return what all parts need the encoder to be, causal or not, or None where none of them minds."""
        asked = {part.needs_causal: name for name, part in self.parts.items() if part.needs_causal is not None}
        if len(asked) > 1:
            raise ConfigError(
                f"no encoder can learn all parts: {asked[True]} needs one that reads from left to right, "
                f"{asked[False]} one that reads both ways",
                "join parts that one encoder can learn, or learn them in two runs",
            )
        return next(iter(asked), None)

"""The plan: what was found of a whole command, its phases, its memory at its fullest and its time in all."""

from dataclasses import dataclass

from userrep.planning.advice import Suggestion
from userrep.planning.forecast import Forecast
from userrep.planning.gpus import Gpu
from userrep.planning.memory import Memory
from userrep.planning.span import Span


@dataclass(frozen=True)
class Plan:
    """What was found of a command.

    `found` are the phases; there are none where shapes alone tell that the weights are too much for this machine.
    `memory` is that of the phase that needs most, `total` the seconds of all, None where nothing could be timed.
    """

    verb: str
    dataset: str
    found: tuple[Forecast, ...]
    memory: Memory
    total: Span | None
    suggestions: tuple[Suggestion, ...]
    gpu: Gpu | None

    @property
    def device(self) -> str:
        """Name what is planned for."""
        return self.gpu.name if self.gpu else str(self.found[0].ready.job.device) if self.found else "cpu"

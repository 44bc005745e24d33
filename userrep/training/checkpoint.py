"""Checkpoints: everything that makes an interrupted run go on as if nothing had happened."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from userrep.errors import DataError
from userrep.files import replacing


@dataclass
class Position:
    """Where a run stands: `phase`, `epoch` in it, `step` in the epoch, `updates` in the phase."""

    phase: int = 0
    epoch: int = 0
    step: int = 0
    updates: int = 0
    loss_sum: float = 0.0  # of this epoch's steps so far
    told: dict[str, torch.Tensor] = field(default_factory=dict)  # of the same, what an objective tells its loss by
    seconds: float = 0.0  # wall time spent, all attempts together
    best: float | None = None
    best_epoch: int | None = None
    waited: int = 0  # validations since the best
    started: bool = False  # the phase's first validation is done
    log_position: int = 0
    settled: dict[str, str] = field(default_factory=dict)  # what was chosen when the run began, and stays

    def begin_next(self, seconds: float, log_position: int) -> None:
        """Stand at the beginning of the next phase."""
        following = Position(self.phase + 1, seconds=seconds, log_position=log_position, settled=self.settled)
        self.__dict__.update(following.__dict__)


def save(path: Path, position: Position, modules: dict[str, torch.nn.Module], state: dict[str, Any]) -> None:
    """Write position, weights and `state` (optimiser, generators) to `path`, whole or not at all."""
    content = {
        "position": asdict(position),
        "weights": {name: module.state_dict() for name, module in modules.items()},
        "state": state,
        "rng": torch.get_rng_state(),
        "rng_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "torch": str(torch.__version__),  # a plain string: its own class may not be read back
    }
    with replacing(path) as partial:
        torch.save(content, partial)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are accepted from the file."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        cause = (str(error).strip() or type(error).__name__).splitlines()[0].partition(". ")[0]
        raise DataError(f"checkpoint {path} cannot be read: {cause}", "start the run over with --fresh") from error


def restore(content: dict[str, Any], modules: dict[str, torch.nn.Module]) -> None:
    """Load the weights and the global generators."""
    for name, module in modules.items():
        module.load_state_dict(content["weights"][name])
    restore_generators(content)


def restore_generators(content: dict[str, Any]) -> None:
    """Set torch's global streams to where they were."""
    torch.set_rng_state(content["rng"])
    if torch.cuda.is_available():  # perhaps another number of devices than there were
        for device, state in zip(range(torch.cuda.device_count()), content["rng_cuda"], strict=False):
            torch.cuda.set_rng_state(state, device)

"""What the command line asks of a stage."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Request:
    """The parsed command: overrides for the config, plumbing, and what only one verb knows in `extra`."""

    overrides: tuple[str, ...] = ()
    run: Path | None = None  # where this run goes; None: a path made from its config
    base: Path | None = None  # --from: the run to start from; None: the newest that fits
    data_dir: Path = Path("data")
    runs_dir: Path = Path("runs")
    config_dir: Path | None = None
    config: Path | None = None  # a whole config in place of overrides
    seed: int | None = None
    device: str = "auto"
    dry_run: bool = False
    resume: bool = False
    fresh: bool = False
    extra: dict[str, Any] = field(default_factory=dict)

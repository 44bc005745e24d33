"""The watch: says when user vectors collapse, while there is time to do something about it."""

from userrep import console
from userrep.errors import ConfigError, DivergedError
from userrep.evaluation.results import Metrics

LEAST_RANK = 0.0
ACTIONS = ("warn", "stop")
REMEDY = "set objective.covariance=1 and objective.variance=1"


class Watch:
    """Look at the geometry of each epoch, and warn or stop where it is that of a collapse.

    on_collapse  warn: say it once; stop: raise DivergedError
    """

    def __init__(self, on_collapse: str = "warn") -> None:
        if on_collapse not in ACTIONS:
            raise ConfigError(f"on_collapse is '{on_collapse}'", f"choose from {', '.join(ACTIONS)}")
        self.on_collapse = on_collapse
        self.warned = False

    def keep(self, geometry: Metrics) -> Metrics:
        """Return the geometry as it is, after a look at it."""
        if geometry["effective_rank"] >= LEAST_RANK:
            return geometry
        cause = f"user vectors collapse: their effective rank is {geometry['effective_rank']:.1f}"
        if self.on_collapse == "stop":
            raise DivergedError(cause, REMEDY)
        if not self.warned:
            console.warn(f"{cause}; {REMEDY}")
        self.warned = True
        return geometry

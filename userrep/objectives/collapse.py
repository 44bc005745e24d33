"""The watch: says when the views of users collapse, while there is time to do something about it."""

from userrep import console
from userrep.errors import ConfigError, DivergedError
from userrep.evaluation.results import Metrics

LEAST_DIRECTIONS, LEAST_SHARE = 10.0, 1 / 8  # of the projected vectors: so many, or this share of their width if less
ACTIONS = ("warn", "stop")
REMEDY = "lower trainer.lr, or set objective.variance=1 objective.covariance=1; predictor and stop_gradient must stay"


class Watch:
    """Look at the geometry of each epoch, and warn or stop where it is that of a collapse.

    A collapse is told by the effective rank of what is compared, the projected vectors. The loss does not tell it: it
    tends to -1 in health too. Nor does their spread, which the last batch norm keeps up. Calibrated on generated users
    (width 16 and 32, projected to 64 and 128) and on MovieLens 1M (64 to 256): see docs/objectives/clue.md.

    on_collapse  warn: say it once; stop: raise DivergedError
    """

    def __init__(self, on_collapse: str = "warn") -> None:
        if on_collapse not in ACTIONS:
            raise ConfigError(f"on_collapse is '{on_collapse}'", f"choose from {', '.join(ACTIONS)}")
        self.on_collapse = on_collapse
        self.warned = False

    def keep(self, geometry: Metrics, width: int) -> Metrics:
        """Return the geometry as it is, after a look at it; `width` is that of the projected vectors."""
        least, found = min(LEAST_DIRECTIONS, LEAST_SHARE * width), geometry["projected_rank"]
        if found >= least:
            return geometry
        cause = f"the views of users collapse: they differ in {found:.1f} of {width} directions, and {least:g} are few"
        if self.on_collapse == "stop":
            raise DivergedError(cause, REMEDY)
        if not self.warned:
            console.warn(f"{cause}; {REMEDY}")
        self.warned = True
        return geometry

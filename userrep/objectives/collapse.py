"""The watch: says when the views of users collapse, while there is time to do something about it."""

from userrep import console
from userrep.errors import ConfigError, DivergedError
from userrep.evaluation.results import Metrics

LEAST_DIRECTIONS, LEAST_PART = 10.0, 8  # so many, or an eighth of what there can be, of the width and of the users
LEAST_VARIANCE = 1e-4
ACTIONS = ("warn", "stop")
REMEDY = "lower trainer.lr, or set objective.variance=1 objective.covariance=1; predictor and stop_gradient must stay"


class Watch:
    """Look at the geometry of each epoch, and warn or stop where it is that of a collapse.

    A collapse to few directions is told by the effective rank of what is compared, the projected vectors. The loss does
    not tell it: it tends to -1 in health too. Nor does their spread, which the last batch norm keeps up. A collapse to
    one point is told by the share of the user vectors' length that is variance: a rank knows no scale. Calibrated on
    generated users (projected to 64 and 128) and on MovieLens 1M (256): docs/objectives/clue.md.

    on_collapse  warn: say it once; stop: raise DivergedError
    """

    def __init__(self, on_collapse: str = "warn") -> None:
        if on_collapse not in ACTIONS:
            raise ConfigError(f"on_collapse is '{on_collapse}'", f"choose from {', '.join(ACTIONS)}")
        self.on_collapse = on_collapse
        self.warned = False

    def keep(self, found: Metrics, width: int, users: int) -> Metrics:
        """Return the geometry of `users` as it is, after a look at it; `width` is that of the projected vectors."""
        least = min(LEAST_DIRECTIONS, width / LEAST_PART, users / LEAST_PART)
        if found["variance_share"] < LEAST_VARIANCE:
            self._tell(f"the vectors of users collapse to one: {found['variance_share']:.1e} of their length varies")
        elif found["projected_rank"] < least:
            few = f"they differ in {found['projected_rank']:.1f} of {width} directions, and {least:g} are few"
            self._tell(f"the views of users collapse: {few}")
        return found

    def _tell(self, cause: str) -> None:
        if self.on_collapse == "stop":
            raise DivergedError(cause, REMEDY)
        if not self.warned:
            console.warn(f"{cause}; {REMEDY}")
        self.warned = True

"""Pictures: how one is begun, named and written, so that all of them look alike."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from userrep.errors import UsageError
from userrep.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, AXIS, PALE = "#333333", "#d9d9d9", "#e6e6e6"  # PALE: of what belongs to nobody
DPI = 160


def check() -> None:
    """Raise UsageError where matplotlib is missing."""
    if find_spec("matplotlib") is None:
        raise UsageError("pictures need matplotlib", "pip install 'userrep[report]'")


def begin(width: float, height: float) -> "tuple[Figure, Axes]":
    """Return an empty picture of a size in inches."""
    from matplotlib.figure import Figure  # no pyplot: nothing global, no window

    figure = Figure(figsize=(width, height))
    axes = figure.subplots()
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(AXIS)
    axes.tick_params(color=AXIS, labelcolor=INK)
    return figure, axes


def tell(axes: "Axes", title: str, x: str, y: str) -> None:
    """Write the title, what the axes are, and beside the picture whose colour is whose."""
    axes.set_title(title, loc="left", color=INK, pad=10)
    axes.set_xlabel(x, color=INK, labelpad=8)
    axes.set_ylabel(y, color=INK, labelpad=8)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, labelcolor=INK)


def write(path: Path, figure: "Figure") -> None:
    """Write a picture as PNG, whole or not at all."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png", bbox_inches="tight", facecolor="white")

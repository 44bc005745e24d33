"""Pictures: how one is begun, named and written, so that all of them look alike."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from userrep.errors import UsageError
from userrep.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, AXIS, PALE = "#333333", "#d9d9d9", "#e6e6e6"  # PALE: of what belongs to nobody
DPI = 160
LONGEST = 60  # characters of a name


def check() -> None:
    """Raise UsageError where matplotlib is missing."""
    if find_spec("matplotlib") is None:
        raise UsageError("pictures need matplotlib", "pip install 'userrep[report]'")


def begin(width: float, height: float) -> "tuple[Figure, Axes]":
    """Return an empty picture of a size in inches."""
    figure, panels = begin_panels(width, height, 1, 1)
    return figure, panels[0]


def begin_panels(width: float, height: float, rows: int, columns: int) -> "tuple[Figure, list[Axes]]":
    """Return an empty picture of so many panels, row by row, which share their scales."""
    from matplotlib.figure import Figure  # no pyplot: nothing global, no window

    figure = Figure(figsize=(width, height))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten().tolist()
    for axes in panels:
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(AXIS)
        axes.tick_params(color=AXIS, labelcolor=INK)
    return figure, panels


def tell(axes: "Axes", title: str, x: str, y: str) -> None:
    """Write the title, what the axes are, and beside the picture whose colour is whose."""
    caption(axes, title, x, y)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, labelcolor=INK)


def caption(axes: "Axes", title: str, x: str, y: str) -> None:
    """Write the title and what the axes are."""
    axes.set_title(title, loc="left", color=INK, pad=10)
    axes.set_xlabel(x, color=INK, labelpad=8)
    axes.set_ylabel(y, color=INK, labelpad=8)


def shades(count: int) -> list[Any]:
    """Return a colour each for things that have an order, dark to light."""
    from matplotlib import colormaps

    return [colormaps["viridis"](0.05 + 0.87 * place / max(1, count - 1)) for place in range(count)]


def literal(text: str) -> str:
    """Return text that is shown as it is, cut where it is long: dollars would begin a formula."""
    return (text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…").replace("$", r"\$")


def write(path: Path, figure: "Figure") -> None:
    """Write a picture as PNG, whole or not at all."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png", bbox_inches="tight", facecolor="white")

"""Pictures of routes: who takes which tuned side, how sure the policy is, and how its training went."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from userrep.methods.route_watch import MARK
from userrep.stages.pictures import AXIS, INK, PALE, begin, begin_panels, caption, literal, write
from userrep.stages.route_reading import Routes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

USAGE = f"{MARK}usage"
DARK = "#332288"  # of the tuned side
MOST = 600  # cases that have a column of the heat map each
COLUMNS = 200  # for more than these, each of which shows a mean
TICKS = 7
BINS = 20
SIDES = {0: "0: frozen side", 0.5: "0.5", 1: "1: tuned side"}
ACROSS = 4  # panels
SORTED = {
    "history": "length of the history (events, at the ticks)",
    "earlier_targets": "number of earlier targets (at the ticks)",
    "usage": "share of tuned blocks (at the ticks)",
}


def draw(
    folder: Path, run: str, split: str, routes: Routes, sort: str, records: Sequence[dict[str, Any]]
) -> list[Path]:
    """Write `routes.png`, `chances.png` and, where the log has `records` of routes, `training.png`; return their paths.

    They are those of the cases of `split`, as `run` has them.
    """
    name = literal(run)
    of = f"{name}, {split}"
    made = {"routes.png": heat_map(of, routes, sort), "chances.png": histograms(of, routes.chance)}
    if records:
        made["training.png"] = course(name, records)
    for file, figure in made.items():
        write(folder / file, figure)
    return [folder / file for file in made]


def heat_map(of: str, routes: Routes, sort: str) -> "Figure":
    """Draw a row a block and a column a case, or a few neighbouring ones, dark where the tuned side is taken."""
    from matplotlib.colors import LinearSegmentedColormap

    values = routes.usage if sort == "usage" else routes.told[sort]
    one_each = len(routes) <= MOST
    ties = routes.route.T[::-1] if one_each else ()  # cases of one value by their route; means want them mixed
    order = np.lexsort((*ties, values))
    shares = routes.route[order]
    if not one_each:
        shares = np.stack([part.mean(axis=0) for part in np.array_split(shares, COLUMNS)])
    figure, axes = begin(8.0, 1.6 + 0.3 * routes.blocks)
    shown = axes.imshow(
        shares.T, aspect="auto", interpolation="nearest", vmin=0, vmax=1,
        cmap=LinearSegmentedColormap.from_list("sides", [PALE, DARK]),
        extent=(0, len(order), routes.blocks + 0.5, 0.5),
    )  # fmt: skip
    places = np.linspace(0, len(order) - 1, min(TICKS, len(order))).round().astype(int)
    form = ".2f" if sort == "usage" else ","
    axes.set_xticks(places + 0.5, [format(value, form) for value in values[order][places]])
    axes.set_yticks(range(1, routes.blocks + 1))
    axes.tick_params(axis="y", length=0)
    for edge in range(1, routes.blocks):
        axes.axhline(edge + 0.5, color="white", linewidth=1)
    told = "" if one_each else f"\na column is the mean of about {len(order) / COLUMNS:,.0f} cases"
    caption(axes, f"{of}: routes of {len(order):,} cases", f"cases sorted by {SORTED[sort]}{told}", "block")
    bar = figure.colorbar(shown, ax=axes, pad=0.02, ticks=[0, 0.5, 1], format=lambda share, _: SIDES[share])
    bar.ax.tick_params(length=0, labelcolor=INK)
    bar.outline.set_visible(False)
    return figure


def histograms(of: str, chance: np.ndarray) -> "Figure":
    """Draw a panel a block, of the chance `(N, A)` that the policy gives its tuned side."""
    figure, panels = _panels(chance.shape[1])
    share = np.full(len(chance), 100 / len(chance))
    for block, (axes, part) in enumerate(zip(panels, chance.T, strict=True), start=1):
        axes.hist(part, np.linspace(0, 1, BINS + 1), weights=share, color=DARK)
        axes.axvline(0.5, color=INK, linewidth=1, linestyle=":")
        axes.set_title(f"block {block}, mean {part.mean():.2f}", loc="left", color=INK, fontsize=9)
    panels[0].set(xlim=(0, 1), xticks=(0, 0.5, 1))
    _around(figure, f"{of}: how sure the policy is of each block", "chance of the tuned side", "cases, %")
    return figure


def course(of: str, records: Sequence[dict[str, Any]]) -> "Figure":
    """Draw a panel a block, of its usage at the validations that the log has `records` of, phase after phase."""
    epochs, begins = places(records)
    ends = [*list(begins.values())[1:], epochs[-1]]
    kept = max((epoch for epoch, record in zip(epochs, records, strict=True) if record["best"]), default=None)
    figure, panels = _panels(sum(key.removeprefix(f"{USAGE}_").isdecimal() for key in records[0]))
    for block, axes in enumerate(panels, start=1):
        for place, (phase, begin_at) in enumerate(begins.items()):
            shade = PALE if place % 2 == 0 and len(begins) > 1 else "white"
            axes.axvspan(begin_at, ends[place], facecolor=shade, edgecolor=AXIS, zorder=0, label=f"phase {phase}")
        own, all_ = ([record[key] for record in records] for key in (f"{USAGE}_{block}", USAGE))
        axes.plot(epochs, own, color=DARK, linewidth=2, label="this block", clip_on=False, zorder=3)
        axes.plot(epochs, all_, color=INK, linewidth=1, linestyle="--", label="all blocks", zorder=3)
        if kept is not None:
            axes.axvline(kept, color=INK, linewidth=1, linestyle=":", label="weights kept")
        axes.set_title(f"block {block}", loc="left", color=INK, fontsize=9)
    panels[0].set(xlim=(0, max(1, epochs[-1])), ylim=(0, 1), yticks=(0, 0.5, 1))
    panels[0].xaxis.get_major_locator().set_params(integer=True)
    _around(figure, f"{of}: usage of the tuned sides in training", "epoch", "mean share, validation")
    handles, labels = panels[0].get_legend_handles_labels()
    beside = {"loc": "upper left", "bbox_to_anchor": (1.0, 0.9), "frameon": False}
    figure.legend(handles, labels, labelcolor=INK, fontsize=9, **beside)
    return figure


def places(records: Sequence[dict[str, Any]]) -> tuple[list[int], dict[str, int]]:
    """Return at which epoch of all phases each record lies, and the epoch that each phase begins after."""
    epochs: list[int] = []
    begins: dict[str, int] = {}
    for record in records:
        begin_at = begins.setdefault(record["phase"], epochs[-1] if epochs else 0)
        epochs.append(begin_at + record["epoch"])
    return epochs, begins


def _panels(count: int) -> "tuple[Figure, list[Axes]]":
    """Return an empty picture of a panel a block."""
    across = min(ACROSS, count)
    down = -(-count // across)
    figure, panels = begin_panels(max(4.6, 2.2 * across), 1.1 + 1.5 * down, down, across)
    for axes in panels[count:]:
        axes.set_visible(False)
    for axes in panels[max(0, count - across) : count]:
        axes.tick_params(labelbottom=True)  # also above an empty place
    return figure, panels[:count]


def _around(figure: "Figure", title: str, x: str, y: str) -> None:
    """Write the title of all panels, and what their axes are."""
    figure.suptitle(title, x=0.02, ha="left", color=INK)
    figure.supxlabel(x, color=INK, fontsize=10)
    figure.supylabel(y, color=INK, fontsize=10)
    figure.set_layout_engine("constrained", h_pad=0.08, w_pad=0.08)

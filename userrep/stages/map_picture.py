"""The picture of a map: a point a user, a colour a class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from userrep.stages.pictures import PALE, begin, literal, tell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# P. Tol's "muted" colours, which the colour-blind can tell apart, and a dark grey
COLOURS = ("#cc6677", "#332288", "#ddcc77", "#117733", "#88ccee", "#882255", "#44aa99", "#999933", "#aa4499", "#555555")
OTHER, UNKNOWN = "other", "unknown"


@dataclass(frozen=True)
class Group:
    """The users `(N,)` of one colour, what they are called, and how far up their points lie."""

    name: str
    members: np.ndarray
    colour: str
    height: int


def groups(codes: np.ndarray, classes: Sequence[str]) -> list[Group]:
    """Divide class codes `(N,)`, -1 where unknown, into classes, the largest first, then what is of none of them.

    Of more than ten classes that occur, the nine largest have a colour each and the rest one. The smallest lie on top.
    """
    counts = np.bincount(codes[codes >= 0], minlength=len(classes))
    order = [int(code) for code in np.argsort(-counts, kind="stable") if counts[code]]
    alone = order if len(order) <= len(COLOURS) else order[: len(COLOURS) - 1]
    parts = zip(alone, COLOURS, strict=False)
    found = [Group(classes[code], codes == code, colour, 3 + place) for place, (code, colour) in enumerate(parts)]
    rest = Group(OTHER, np.isin(codes, order[len(alone) :]), COLOURS[-1], 2)
    unknown = Group(UNKNOWN, codes < 0, PALE, 1)
    return [*found, *(group for group in (rest, unknown) if group.members.any())]


def scatter(places: np.ndarray, coloured: Sequence[Group], title: str, axis_names: Sequence[str]) -> "Figure":
    """Draw users at `places (N, 2)`; each axis has a scale of its own."""
    figure, axes = begin(6.8, 5.4)
    size = float(np.clip(16_000 / len(places), 5, 40))  # square points
    for group in coloured:
        x, y = places[group.members].T
        label = f" {literal(group.name)} ({len(x):,})"  # a name that began with _ would be in no legend
        axes.scatter(x, y, s=size, color=group.colour, label=label, alpha=0.75, linewidths=0, zorder=group.height)
    tell(axes, literal(title), *axis_names)
    for handle in axes.get_legend().legend_handles:
        handle.set(sizes=[40], alpha=1.0)
    return figure

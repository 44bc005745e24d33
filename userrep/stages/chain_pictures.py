"""Pictures of a chain: who owns the weights of each layer, and what each task has taken of all of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from userrep.evaluation.continual import free_after
from userrep.files import explaining_write_errors
from userrep.stages.chain_effort import Capacity
from userrep.stages.pictures import INK, PALE, begin, shades, tell, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(folder: Path, names: Sequence[str], owned: Capacity) -> list[Path]:
    """Write `owners.png` and `capacity.png` to a folder and return their paths; `names` are those of the tasks."""
    labels = [f"{number} {name}" for number, name in enumerate(names, start=1)]
    made = {"owners.png": owners(labels, owned), "capacity.png": curve(labels, owned.shares)}
    with explaining_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, figure in made.items():
        write(folder / name, figure)
    return [folder / name for name in made]


def owners(labels: Sequence[str], owned: Capacity) -> "Figure":
    """Draw a bar a layer, divided by owner: tasks in their order, then what is free."""
    figure, axes = begin(8.0, 1.2 + 0.3 * len(owned.layers))
    shares = 100 * owned.counts / owned.counts.sum(axis=1, keepdims=True)
    places, left = np.arange(len(owned.layers)), np.zeros(len(owned.layers))
    parts = zip([*labels, "free"], [*shares[:, 1:].T, shares[:, 0]], [*shades(len(labels)), PALE], strict=True)
    for label, part, colour in parts:
        axes.barh(places, part, left=left, height=0.72, color=colour, label=label, edgecolor="white", linewidth=0.6)
        left = left + part
    axes.set_yticks(places, short(owned.layers))
    axes.set(xlim=(0, 100), ylim=(len(places) - 0.45, -0.55))  # the first layer above
    axes.tick_params(axis="y", length=0)
    tell(axes, "Owners of the weights", "share of the layer's weights, %", "layer")
    return figure


def curve(labels: Sequence[str], shares: np.ndarray) -> "Figure":
    """Draw a bar after each task, of what it and those before it own; what is free is the rest, its share above."""
    figure, axes = begin(max(4.5, 1.6 + 0.62 * len(labels)), 3.8)
    places, bottom = np.arange(len(labels)), np.zeros(len(labels))
    for number, (label, share, colour) in enumerate(zip(labels, shares, shades(len(labels)), strict=True)):
        part = np.where(places >= number, 100 * share, 0.0)
        axes.bar(places, part, bottom=bottom, width=0.74, color=colour, label=label, edgecolor="white", linewidth=0.6)
        bottom = bottom + part
    free = 100 * free_after(shares)
    rest = axes.bar(places, free, bottom=bottom, width=0.74, color=PALE, label="free", edgecolor="white", linewidth=0.6)
    axes.bar_label(rest, [f"{value:.1f}" for value in free], padding=2, fontsize=8, color=INK)
    axes.set_xticks(places, [str(number) for number in range(1, len(labels) + 1)])
    axes.tick_params(axis="x", length=0)
    axes.set(ylim=(0, 106), xlim=(-0.6, len(labels) - 0.4))
    tell(axes, "Capacity: the share that is free stands above", "after task", "share of ownable weights, %")
    return figure


def short(names: Sequence[str]) -> list[str]:
    """Return layer names without the parts that all of them have, such as `blocks` and `weight`."""
    split = [name.split(".") for name in names]
    shared = set.intersection(*map(set, split)) if len(names) > 1 else set()
    return [".".join(part for part in parts if part not in shared) or ".".join(parts) for parts in split]

"""The picture of growth: time, memory and share of the machine's limit, against one size after another."""

import json
from collections.abc import Sequence
from pathlib import Path

from userrep import console
from userrep.files import replacing

Rows = Sequence[tuple[str, str, str]]  # measure, its words, its scale
Columns = Sequence[tuple[Sequence[str], str]]  # kinds of work, and what they grow with
ROWS: Rows = (
    ("seconds", "processor seconds a call", "log"),
    ("peak_mib", "MiB above weights", "log"),
    ("share", "share of the products' limit", "linear"),
)
WIDE = 5  # times as much at one size as at another is drawn by its logarithm, where this is asked for
COLUMNS: Columns = ((("full softmax", "sampled softmax", "ranking"), "items"), (("NextItNet", "SASRec"), "length"))


def draw(source: Path, target: Path, rows: Rows = ROWS, columns: Columns = COLUMNS) -> None:
    """Draw the report in `source`: a panel a measure and size, with a line a kind of work; needs matplotlib."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    report = json.loads(source.read_text(encoding="utf-8"))
    figure = Figure(figsize=(9, 8), layout="constrained")
    panels = figure.subplots(len(rows), len(columns), sharex="col")
    for row, (measure, words, scale) in zip(panels, rows, strict=True):
        for axes, (kinds, across) in zip(row, columns, strict=True):
            for kind in kinds:
                points = [point for point in report["points"] if point["kind"] == kind and point[measure] is not None]
                axes.plot([p["size"] for p in points], [p[measure] for p in points], marker="o", ms=4, label=kind)
            sizes = sorted({point["size"] for point in report["points"] if point["kind"] in kinds})
            axes.set_xscale("log")
            axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
            shown = [p[measure] for p in report["points"] if p["kind"] in kinds and p[measure] is not None]
            if scale == "log" and max(shown, default=0) > WIDE * min(shown, default=0):
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            else:
                highest = max(shown, default=1)
                axes.set_ylim(0, 1 if measure == "share" and highest > 0.1 else 1.1 * highest)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.4g}")
            axes.minorticks_off()
            axes.grid(alpha=0.3)
            axes.set_ylabel(words)
            if measure == "share":
                axes.set_xlabel(across)
            if measure == "seconds":
                axes.legend(frameon=False)
    limits, machine = report["limits"], report["machine"]
    products = f"{limits['gflops']:.0f} GFLOP/s, " if "gflops" in limits else ""
    known = f"{products}{limits['gigabytes']:.0f} GB/s of a copy"
    figure.suptitle(f"{machine['cpu']}, {machine['threads']} thread(s): {known}", fontsize=10)
    with replacing(target) as temporary:
        figure.savefig(temporary, format="png", dpi=80)
    console.note(f"written: {target}")

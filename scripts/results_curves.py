"""The label curves of docs/results.md: how much each arm makes of 1, 5, 10, 40 and 100 % of the labels.

Ten draws of the labels up to 5 %, five at 10 %, three above; draws are nested and stratified; a draw also seeds
the training and is shared by all arms, so that arms are compared draw by draw. Settings are those that
`results_profiles.py` and `results_cross_domain.py` chose on validation with all labels. With fewer, batches are smaller
and epochs more, so that the updates stay as many, and each arm may take a third of its rate, by the validation users of
two other draws at 10 %.
Intervals are over draws on the test users of one fold: they say what another draw would change, not other users.

Each cell is one `userrep` command, so the script goes on where it stopped. It writes all points as json, a table with
intervals, and a picture where matplotlib is installed: pip install 'userrep[report]'.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cells as made
import numpy as np
import results_cross_domain as cross
import results_profiles as profiles
from cells import Cell
from scipy import stats

ARMS = ("peterrec", "full", "scratch", "head")
REFERENCE = "full"
FRACTIONS = (0.01, 0.05, 0.1, 0.4, 1.0)
DRAWS = {0.1: 5, 0.4: 3, 1.0: 3}  # at most, where the labels differ little from draw to draw; ten elsewhere
FULL_BATCH = 64
SLOWER = (1.0, 0.3)  # rates tried with few labels, as shares of the rate chosen with all
TRIED, TRIAL_DRAWS = 0.1, (100, 101)
CHOSEN: dict[str, Mapping[str, float]] = {
    "gender": {"peterrec": 1.0, "full": 0.3, "scratch": 0.3, "head": 0.3},
    "cold_first": {"peterrec": 1.0, "full": 0.3, "scratch": 0.3, "head": 1.0},
}
TRIAL_TASK = {"age": "gender"}  # profiles are tuned on gender alone, as in results_profiles.py
DIRECTION, MODEL = "kitchen-food", "nextitnet"

Settings = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Curve:
    """What is asked of a task: non-neural arms, metrics in order of weight, what chooses, how its cells are made."""

    baselines: tuple[str, ...]
    metrics: tuple[str, ...]
    judge: str
    maximise: bool
    settings: Callable[[argparse.Namespace], Settings]
    command: Callable[[str, str, tuple[str, ...], argparse.Namespace], tuple[str, ...]]
    baseline_command: Callable[[str, str, argparse.Namespace], tuple[str, ...]]


def main() -> int:
    """Run what is missing, then write points, table and picture; return 0 when all cells are there."""
    options = _options()
    points = []
    for task in options.tasks:
        curve = CURVES[task]
        settings = curve.settings(options)
        few = {arm: _slower(arm, task, settings, options) for arm in ARMS}
        wanted = [
            (_cell(task, arm, fraction, draw, few if fraction < 1 else settings, options), arm, fraction, draw)
            for fraction in options.fractions
            for draw in range(min(options.draws, DRAWS.get(fraction, options.draws)))
            for arm in (*ARMS, *curve.baselines)
        ]
        made.run([cell for cell, *_ in wanted], options)
        made.evaluate([cell for cell, *_ in wanted], options)
        points += [_point(task, *one) for one in wanted]
    options.runs.mkdir(parents=True, exist_ok=True)
    (options.runs / "points.json").write_text(json.dumps(points, indent=1) + "\n")
    table = "\n".join(line for task in options.tasks for line in _table(task, points))
    (options.runs / "table.md").write_text(table + "\n")
    print(table)
    draw_picture(points, options)
    return 0


def _cell(task: str, arm: str, fraction: float, draw: int, settings: Settings, options: argparse.Namespace) -> Cell:
    few = (f"task.label_fraction={fraction}", f"task.label_draw={draw}", f"seed={draw}")
    path = options.runs / task / f"{arm}-{fraction}-d{draw}-f{options.fold}"
    if arm in CURVES[task].baselines:
        return Cell(path, (*CURVES[task].baseline_command(arm, task, options), *few))
    overrides = (*as_many_updates(settings[arm], fraction), *few)
    return Cell(path, CURVES[task].command(arm, task, overrides, options), overrides)


def _slower(arm: str, task: str, settings: Settings, options: argparse.Namespace) -> tuple[str, ...]:
    """Return an arm's settings for few labels: the rate that did best on average over the trial draws."""
    judged = TRIAL_TASK.get(task, task)
    if options.settled and judged in CHOSEN:
        return with_rate(settings[arm], CHOSEN[judged][arm])
    tried = {}
    for share in SLOWER:
        changed = with_rate(settings[arm], share)
        options_of_trial = argparse.Namespace(**{**vars(options), "runs": options.runs / "trials" / f"{share:g}"})
        own = {**settings, arm: changed}
        tried[changed] = [_cell(judged, arm, TRIED, draw, own, options_of_trial) for draw in TRIAL_DRAWS]
    made.run([cell for cells in tried.values() for cell in cells], options)
    curve = CURVES[judged]
    sign = 1 if curve.maximise else -1

    def value(changed: tuple[str, ...]) -> float:
        return sign * float(np.mean([cell.record["metrics"][curve.judge] for cell in tried[changed]]))

    best = max(tried, key=value)
    print(f"{task}, {arm}: {' '.join(best)} with few labels", flush=True)
    return best


def with_rate(overrides: tuple[str, ...], share: float) -> tuple[str, ...]:
    """Return the settings with a share of their rate."""
    rate = next(float(text.rpartition("=")[2]) for text in overrides if text.startswith("trainer.lr="))
    return made.last_of_each((*overrides, f"trainer.lr={rate * share:g}"))


def as_many_updates(overrides: tuple[str, ...], fraction: float) -> tuple[str, ...]:
    """Return the settings for a share of the labels: batches of 16 up to 10 %, of 32 below all, and more epochs."""
    batch = 16 if fraction <= 0.1 else 32 if fraction < 1 else FULL_BATCH
    epochs = next(int(text.rpartition("=")[2]) for text in overrides if text.startswith("trainer.epochs="))
    more = math.ceil(epochs * batch / (FULL_BATCH * fraction))
    return made.last_of_each((*overrides, f"trainer.batch_size={batch}", f"trainer.epochs={more}"))


def _profiles(options: argparse.Namespace) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(options), "runs": options.profiles, "readout": "mean+items", "labels": 1.0})


def _cross(options: argparse.Namespace) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(options), "runs": options.cross, "readout": "mean+items"})


def _profile_settings(options: argparse.Namespace) -> Settings:
    """Make the bases and the trials that are not there yet; return the choices."""
    own = _profiles(options)
    made.run([profiles.base(own.runs, options.fold)], options)
    return profiles.settle(ARMS, own)


def _profile_command(arm: str, task: str, overrides: tuple[str, ...], options: argparse.Namespace) -> tuple[str, ...]:
    own = _profiles(options)
    shared = (f"protocol.fold={options.fold}", *profiles.COMMON, f"protocol.readout={own.readout}")
    base = str(profiles.base(own.runs, options.fold).path)
    return "transfer", "--method", arm, "--task", task, "--from", base, *made.last_of_each((*shared, *overrides))


def _profile_baseline(arm: str, task: str, options: argparse.Namespace) -> tuple[str, ...]:
    own = _profiles(options)
    shared = (f"protocol.fold={options.fold}", "protocol.history=200", f"protocol.readout={own.readout}")
    return "baseline", arm, "dataset=ml-1m", f"task={task}", *shared


def _cross_settings(options: argparse.Namespace) -> Settings:
    own = _cross(options)
    made.run([cross.base(DIRECTION, MODEL, own)], options)
    return cross.settle(ARMS, DIRECTION, "cold_first", MODEL, own)


def _cross_command(arm: str, task: str, overrides: tuple[str, ...], options: argparse.Namespace) -> tuple[str, ...]:
    return cross.transfer_command(arm, DIRECTION, task, MODEL, options.fold, overrides, _cross(options))


def _cross_baseline(arm: str, task: str, options: argparse.Namespace) -> tuple[str, ...]:
    return cross.baseline_command(arm, DIRECTION, task, options.fold, _cross(options))


_OF_PROFILES = (_profile_settings, _profile_command, _profile_baseline)
CURVES = {
    "gender": Curve(("svd_lr",), ("accuracy", "log_loss", "auc"), "log_loss", False, *_OF_PROFILES),
    "age": Curve(("svd_lr",), ("accuracy", "log_loss", "macro_f1"), "log_loss", False, *_OF_PROFILES),
    "cold_first": Curve(
        ("ridge", "popularity"), ("ndcg@10", "hr@10"), "ndcg@10", True, _cross_settings, _cross_command, _cross_baseline
    ),
}


def _point(task: str, cell: Cell, arm: str, fraction: float, draw: int) -> dict[str, Any]:
    metrics = json.loads((cell.path / "metrics.json").read_text())["metrics"]
    return {"task": task, "arm": arm, "fraction": fraction, "draw": draw, "metrics": metrics}


def band(values: np.ndarray) -> tuple[float, float]:
    """Return the mean over draws and half of its 95 % t-interval, 0 for a single draw."""
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values) if len(values) > 1 else 0.0
    return float(values.mean()), float(half)


def draws_of(points: list[dict[str, Any]], task: str, arm: str, fraction: float, metric: str) -> np.ndarray:
    """Return a metric of an arm by draw, in order of the draws."""
    own = [one for one in points if (one["task"], one["arm"], one["fraction"]) == (task, arm, fraction)]
    return np.array([one["metrics"][metric] for one in sorted(own, key=lambda one: one["draw"])])


def _table(task: str, points: list[dict[str, Any]]) -> list[str]:
    """Write a table a metric: mean and half interval, and behind a semicolon those of the difference to `full`."""
    fractions = sorted({one["fraction"] for one in points if one["task"] == task})
    lines = []
    for metric in CURVES[task].metrics:
        lines += [f"### {task}, {metric}", "", "| arm | " + " | ".join(f"{one:.0%}" for one in fractions) + " |"]
        lines.append("| --- |" + " --- |" * len(fractions))
        for arm in (*ARMS, *CURVES[task].baselines):
            texts = []
            for fraction in fractions:
                values = draws_of(points, task, arm, fraction, metric)
                text = "{:.4f} ± {:.4f}".format(*band(values))
                if arm != REFERENCE:
                    paired = values - draws_of(points, task, REFERENCE, fraction, metric)
                    text += "; {:+.4f} ± {:.4f}".format(*band(paired))
                texts.append(text)
            lines.append(f"| {arm} | " + " | ".join(texts) + " |")
        lines.append("")
    return lines


def draw_picture(points: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Draw a panel a task and metric, the first two metrics of each, with bands; needs matplotlib."""
    try:
        import matplotlib
    except ImportError:
        print("no picture: pip install 'userrep[report]' brings matplotlib")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = len(options.tasks)
    figure, panels = pyplot.subplots(rows, 2, figsize=(10, 3.6 * rows), squeeze=False)
    for row, task in enumerate(options.tasks):
        for column, metric in enumerate(CURVES[task].metrics[:2]):
            panel = panels[row][column]
            fractions = np.array(sorted({one["fraction"] for one in points if one["task"] == task}))
            for arm in (*ARMS, *CURVES[task].baselines):
                found = np.array([band(draws_of(points, task, arm, fraction, metric)) for fraction in fractions])
                panel.plot(fractions, found[:, 0], marker="o", markersize=4, label=arm)
                panel.fill_between(fractions, found[:, 0] - found[:, 1], found[:, 0] + found[:, 1], alpha=0.1, lw=0)
            panel.set(xscale="log", xlabel="share of the labels", ylabel=metric, title=task)
            panel.set_xticks(fractions, [f"{fraction:.0%}" for fraction in fractions])
            panel.minorticks_off()
            panel.spines[["top", "right"]].set_visible(False)
        panels[row][1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.tight_layout()
    figure.savefig(options.runs / "curves.png", dpi=120)
    print(f"picture: {options.runs / 'curves.png'}")


def _options() -> argparse.Namespace:
    parser = made.parser(__doc__, Path("runs/curves"), settles=True)
    parser.add_argument("--profiles", type=Path, default=Path("runs/ml1m"), help="runs of results_profiles.py")
    parser.add_argument("--cross", type=Path, default=Path("runs/cross-domain"), help="runs of results_cross_domain.py")
    parser.add_argument("--tasks", nargs="+", default=list(CURVES), choices=CURVES)
    parser.add_argument("--fractions", nargs="+", type=float, default=list(FRACTIONS), choices=FRACTIONS)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--fold", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

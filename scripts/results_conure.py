"""The Conure tables of docs/results.md: six tasks of MovieLens in one encoder, beside all controls, over seeds.

Conure trains each task twice, before and after it prunes; the controls get the same number of epochs at once, so that
no arm has more updates on a task. Each cell is one `userrep` command, so the script goes on where it stopped. It writes
all results as json and a table: mean over seeds of what each arm's newest encoder scores on the test cases of a task,
and for the two chains what the task scored when it was learned.

Settings are those of conf/experiment/conure_ml.yaml for every arm; nothing is tuned for one of them.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import cells as made
import numpy as np
from cells import Cell

TASKS = ("chain_liked", "chain_loved", "chain_gender", "chain_age", "chain_occupation")
FIRST = "next_item"
PRESET = "experiment=conure_ml"
EPOCHS = 3  # of conure_ml's transfers, before pruning and again after it
SINGLE = ("scratch", "head", "full", "peterrec", "piggyback")  # each task from the base, by itself
NAMES = {
    "conure": "Conure", "sinmoall": "full, task after task (SinMoAll)", "scratch": "scratch (SinMo)",
    "head": "head (FineSmax)", "full": "full (FineAll)", "peterrec": "PeterRec", "piggyback": "Piggyback",
    "joint": "joint (MTL)",
    "base": "base, no more training", "dense": "base + the epochs of task 1's retraining, dense",
}  # fmt: skip
OWN = {"piggyback": ("trainer.lr=0.0003", "trainer.head_lr=0.003")}  # its scores lie 0.005 from the threshold


def main() -> int:
    """Run what is missing, then write results and table; return 0 when all cells are there."""
    options = _options()
    results: list[dict[str, Any]] = []
    for seed in options.seeds:
        results += one_seed(seed, options)
    options.runs.mkdir(parents=True, exist_ok=True)
    (options.runs / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    table = "\n".join(write_table(results))
    (options.runs / "table.md").write_text(table + "\n")
    print(table)
    return 0


def one_seed(seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Make all arms of a seed; return what each scored."""
    base, conure, sinmoall = _base(seed, options), chain("conure", seed, options), chain("sinmoall", seed, options)
    dense = _prune(base, "dense", ("--method", "prune", "--keep", "1"), seed, options)
    single = {arm: [_single(base, arm, task, seed, options) for task in TASKS] for arm in SINGLE}
    joint = _joint(base, seed, options)
    alone = [cell for arm in SINGLE for cell in single[arm]]
    for cell in (base, *conure, *sinmoall):  # each from the one before
        made.run([cell], options)
    made.run([dense, *alone, joint], options)
    made.evaluate([base, dense, *alone, joint], options)
    found = [_row("base", seed, {FIRST: _score(base)}, [base])]
    found.append(_row("dense", seed, {FIRST: _score(dense)}, [base, dense]))
    for arm, cells in (("conure", conure), ("sinmoall", sinmoall)):
        told = json.loads(made.userrep(("chain", str(cells[-1].path), "--json"), options))
        now = {task["name"]: task["now"] for task in told["tasks"]}
        learned = {task["name"]: task["learned"] for task in told["tasks"]}
        row = _row(arm, seed, now, [base, *cells] if arm == "conure" else cells)
        found.append(row | {"learned": learned, "backward": told["backward_transfer"], "exact": told.get("exact")})
    for arm in SINGLE:
        scores = {FIRST: _score(base)} if arm != "scratch" else {}
        scores |= {task: _score(cell) for task, cell in zip(TASKS, single[arm], strict=True)}
        found.append(_row(arm, seed, scores, [base, *single[arm]] if arm != "scratch" else single[arm]))
    parts = json.loads((joint.path / "metrics.json").read_text())["metrics"]
    scores = {task: parts[f"{task.removeprefix('chain_')}/{_metric(task)}"] for task in TASKS}
    return [*found, _row("joint", seed, scores, [base, joint])]


def chain(arm: str, seed: int, options: argparse.Namespace) -> list[Cell]:
    """Return the cells of a chain, from run to run; the first is task 1's."""
    base = _base(seed, options)
    protects = arm == "conure"
    cells = [_prune(base, arm, ("--method", "conure"), seed, options) if protects else base]
    for number, task in enumerate(TASKS, start=2):
        path = options.runs / f"s{seed}" / f"{arm}-{number}-{task}"
        method = ("--method", "conure") if protects else ("--method", "full", f"trainer.epochs={2 * EPOCHS}")
        start = ("transfer", *method, "--from", str(cells[-1].path), "--task", task)
        cells.append(Cell(path, (*start, PRESET, f"seed={seed}")))
    return cells


def _base(seed: int, options: argparse.Namespace) -> Cell:
    words = ("pretrain", PRESET, f"dataset={options.dataset}", f"seed={seed}", *options.pretrain)
    return Cell(options.runs / f"s{seed}" / "base", words)


def _prune(base: Cell, name: str, method: tuple[str, ...], seed: int, options: argparse.Namespace) -> Cell:
    words = ("prune", str(base.path), *method, PRESET, f"seed={seed}")
    return Cell(options.runs / f"s{seed}" / f"{name}-1", words)


def _single(base: Cell, arm: str, task: str, seed: int, options: argparse.Namespace) -> Cell:
    settings = (f"trainer.epochs={2 * EPOCHS}", *OWN.get(arm, ()))
    words = ("transfer", "--method", arm, "--from", str(base.path), "--task", task, PRESET, f"seed={seed}", *settings)
    return Cell(options.runs / f"s{seed}" / f"{arm}-{task}", words)


def _joint(base: Cell, seed: int, options: argparse.Namespace) -> Cell:
    # One readout serves all parts, and one rate.
    settings = ("protocol.readout=mean+items", f"trainer.epochs={2 * EPOCHS}", "trainer.validate_users=1000")
    parts = tuple(
        f"task.parts.{part}.{key}"
        for part in ("liked", "loved")
        for key in ("recent=5", "bias=true", "start=shares")
    )
    words = ("transfer", "--method", "full", "--from", str(base.path), "--task", "joint_ml", PRESET, f"seed={seed}")
    return Cell(options.runs / f"s{seed}" / "joint", (*words, *settings, *parts))


def _row(arm: str, seed: int, scores: dict[str, float], cells: list[Cell]) -> dict[str, Any]:
    records = [cell.record for cell in cells]
    return {
        "arm": arm, "seed": seed, "scores": scores, "seconds": sum(record["seconds"] for record in records),
        "bytes": sum(record["weights"]["bytes"] for record in records),
        "backbones": len(cells) - 1 if arm == "full" else len(cells) if arm == "scratch" else 1,
    }  # fmt: skip


def _score(cell: Cell) -> float:
    told = json.loads((cell.path / "metrics.json").read_text())["metrics"]
    return float(told["ndcg@10"] if "ndcg@10" in told else told["accuracy"])


def _metric(task: str) -> str:
    return "ndcg@10" if task in ("chain_liked", "chain_loved") else "accuracy"


def write_table(results: list[dict[str, Any]]) -> list[str]:
    """Write a row an arm: mean and, over several seeds, the deviation; of chains also what was scored when learned."""
    columns = (FIRST, *TASKS)
    head = "| arm | " + " | ".join(name.removeprefix("chain_") for name in columns) + " | backbones | MB | minutes |"
    lines = [head, "| --- |" + " ---: |" * (len(columns) + 3)]
    for arm, name in NAMES.items():
        own = [row for row in results if row["arm"] == arm]
        if not own:
            continue
        if "learned" in own[0] and not own[0]["exact"]:
            lines.append(_line(f"{name}, when learned", [row["learned"] for row in own], columns, own))
            name += ", at the end"
        lines.append(_line(name, [row["scores"] for row in own], columns, own))
    return lines


def _line(name: str, scores: list[dict[str, float]], columns: tuple[str, ...], own: list[dict[str, Any]]) -> str:
    figures = []
    for column in columns:
        values = np.array([score[column] for score in scores if column in score])
        spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
        figures.append(f"{values.mean():.3f}{spread}" if len(values) else "-")
    size, minutes = (float(np.mean([row[key] for row in own])) for key in ("bytes", "seconds"))
    return f"| {name} | {' | '.join(figures)} | {own[0]['backbones']} | {size / 1e6:.1f} | {minutes / 60:.1f} |"


def _options() -> argparse.Namespace:
    parser = made.parser(__doc__, Path("runs/conure"))
    parser.add_argument("--dataset", default="ml-1m")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--pretrain", nargs="*", default=[], help="overrides of the base, such as trainer.epochs=40")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

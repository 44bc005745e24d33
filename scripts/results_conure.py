"""The Conure tables of docs/results.md: six tasks of MovieLens in one encoder, beside all controls, over seeds.

Conure trains each task twice, before and after it prunes; the controls get the same number of epochs at once, so that
no arm has more updates on a task. Each cell is one `userrep` command, so the script goes on where it stopped. It writes
all results as json and a table: mean over seeds of what each arm's newest encoder scores on the test cases of a task,
and for the two chains what the task scored when it was learned.

Beside that table: task 1 before and after pruning and after retraining, by share (`curve`); chains in other orders and
without the second task (`orders`); chains of encoders of other sizes, beside full fine-tuning of each (`sizes`).

Settings are those of conf/experiment/conure_small.yaml for every arm; nothing is tuned for one of them.
"""

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cells as made
import numpy as np
from cells import Cell

TASKS = ("chain_liked", "chain_loved", "chain_gender", "chain_age", "chain_occupation")
FIRST = "next_item"
PRESET = "experiment=conure_small"
# Of the preset's transfers, before pruning and again after it.
EPOCHS = {"chain_liked": 2, "chain_loved": 2, "chain_gender": 4, "chain_age": 4, "chain_occupation": 4, "joint_ml": 2}
SINGLE = ("scratch", "head", "full", "peterrec", "piggyback")  # each task from the base, by itself
NAMES = {
    "conure": "Conure", "sinmoall": "full, task after task (SinMoAll)", "scratch": "scratch (SinMo)",
    "head": "head (FineSmax)", "full": "full (FineAll)", "peterrec": "PeterRec", "piggyback": "Piggyback",
    "joint": "joint (MTL)",
    "base": "base, no more training", "dense": "base + the epochs of task 1's retraining, dense",
}  # fmt: skip
LIKED, LOVED, GENDER, AGE, OCCUPATION = TASKS
ORDERS = {
    "conure": TASKS,
    "profiles-first": (GENDER, AGE, OCCUPATION, LIKED, LOVED),
    "reversed": TASKS[::-1],
    "without-liked": TASKS[1:],
}
KEPT = (0.7, 0.5)  # shares of task 1's weights that stay, beside the preset's, which the chains have
SIZES: dict[str, tuple[str, ...]] = {
    "d = 64, one block": ("model.dilations=[1]",), "d = 32": ("model.width=32",), "d = 64": (),
    "d = 128": ("model.width=128",), "d = 256": ("model.width=256",),
}  # fmt: skip
OWN = {"piggyback": ("trainer.lr=0.0003", "trainer.head_lr=0.003")}  # its scores lie 0.005 from the threshold


def main() -> int:
    """Run what is missing, then write results and tables; return 0 when all cells are there."""
    options = _options()
    tables = [line for part in options.parts for line in PARTS[part](options)]
    options.runs.mkdir(parents=True, exist_ok=True)
    (options.runs / "table.md").write_text("\n".join(tables) + "\n")
    print("\n".join(tables))
    return 0


def all_arms(options: argparse.Namespace) -> list[str]:
    """Return the table of all arms over the seeds; results.json keeps the rows of each seed."""
    results = [row for seed in options.seeds for row in one_seed(seed, options)]
    options.runs.mkdir(parents=True, exist_ok=True)
    (options.runs / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    return write_table(results)


def curve(options: argparse.Namespace) -> list[str]:
    """Return task 1's validation metric at each share that is kept, as the records of the prunings tell it."""
    lines = ["", "| kept | before | pruned | retrained |", "| ---: | ---: | ---: | ---: |"]
    cells = {
        f"{kept:.0%}": [
            _prune(base(seed, options), f"kept-{kept}", ("--keep", f"{kept}"), seed, options) for seed in options.seeds
        ]
        for kept in KEPT
    }
    cells["30%"] = [chain("conure", seed, options)[0] for seed in options.seeds]
    made.run([base(seed, options) for seed in options.seeds], options)
    made.run([cell for own in cells.values() for cell in own], options)
    for kept, own in cells.items():
        told = [[cell.record["stages"][when] for cell in own] for when in ("before", "pruned", "retrained")]
        lines.append(f"| {kept} | {' | '.join(_figure(values) for values in told)} |")
    return lines


def orders(options: argparse.Namespace) -> list[str]:
    """Return what chains score that learn the tasks in other orders, or not all of them."""
    results = []
    for name, tasks in ORDERS.items():
        for seed in options.seeds:
            cells = chain("conure", seed, options, tasks, name)
            for cell in (base(seed, options), *cells):
                made.run([cell], options)
            results.append(_kept(name, seed, [base(seed, options), *cells], options))
    return ["", *write_table(results, {name: f"Conure, {name}" for name in ORDERS})]


def sizes(options: argparse.Namespace) -> list[str]:
    """Return what chains and single tasks score with encoders of other sizes, one seed."""
    results, names, seed = [], {}, options.seeds[0]
    for size in options.sizes:
        narrowed = argparse.Namespace(**vars(options) | {"size": size})
        first, cells = base(seed, narrowed), chain("conure", seed, narrowed)
        alone = [_single(first, "full", task, seed, narrowed) for task in TASKS]
        for cell in (first, *cells):
            made.run([cell], narrowed)
        made.run(alone, narrowed)
        made.evaluate([first, *alone], narrowed)
        scores = {FIRST: _score(first)} | {task: _score(cell) for task, cell in zip(TASKS, alone, strict=True)}
        names |= {f"conure {size}": f"Conure, {size}", f"full {size}": f"full, {size}"}
        results.append(_kept(f"conure {size}", seed, [first, *cells], narrowed))
        results.append(_row(f"full {size}", seed, scores, [first, *alone]))
    return ["", *write_table(results, names)]


PARTS = {"table": all_arms, "curve": curve, "orders": orders, "sizes": sizes}


def one_seed(seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Make all arms of a seed; return what each scored."""
    first, conure, sinmoall = base(seed, options), chain("conure", seed, options), chain("sinmoall", seed, options)
    dense = _prune(first, "dense", ("--method", "prune", "--keep", "1"), seed, options)
    arms = [arm for arm in SINGLE if arm in options.arms]
    single = {arm: [_single(first, arm, task, seed, options) for task in TASKS] for arm in arms}
    joint = [_joint(first, seed, options)] if "joint" in options.arms else []
    alone = [cell for cells in single.values() for cell in cells]
    made.run([first], options)
    with ThreadPoolExecutor(2) as pool:  # each from the one before
        for _ in pool.map(lambda cells: [made.run([cell], options) for cell in cells], (conure, sinmoall)):
            pass
    made.run([dense, *alone, *joint], options)
    made.evaluate([first, dense, *alone, *joint], options)
    found = [_row("base", seed, {FIRST: _score(first)}, [first])]
    found.append(_row("dense", seed, {FIRST: _score(dense)}, [first, dense]))
    found.append(_kept("conure", seed, [first, *conure], options))
    found.append(_kept("sinmoall", seed, sinmoall, options))
    for arm in arms:
        scores = {FIRST: _score(first)} if arm != "scratch" else {}
        scores |= {task: _score(cell) for task, cell in zip(TASKS, single[arm], strict=True)}
        found.append(_row(arm, seed, scores, [first, *single[arm]] if arm != "scratch" else single[arm]))
    for cell in joint:
        parts = json.loads((cell.path / "metrics.json").read_text())["metrics"]
        scores = {task: parts[f"{task.removeprefix('chain_')}/{_metric(task)}"] for task in TASKS}
        found.append(_row("joint", seed, scores, [first, cell]))
    return found


def _kept(arm: str, seed: int, cells: list[Cell], options: argparse.Namespace) -> dict[str, Any]:
    """Return a chain's row: what its newest encoder scores, and what each task scored when it was learned."""
    told = json.loads(made.userrep(("chain", str(cells[-1].path), "--json"), options))
    now = {task["name"]: task["now"] for task in told["tasks"]}
    learned = {task["name"]: task["learned"] for task in told["tasks"]}
    kept = {"learned": learned, "backward": told["backward_transfer"], "exact": told.get("exact")}
    return _row(arm, seed, now, cells) | kept


def chain(
    arm: str, seed: int, options: argparse.Namespace, tasks: tuple[str, ...] = TASKS, name: str = ""
) -> list[Cell]:
    """Return the cells of a chain, from run to run; the first is task 1's."""
    first = base(seed, options)
    protects = arm == "conure"
    cells = [_prune(first, arm, ("--method", "conure"), seed, options) if protects else first]
    for number, task in enumerate(tasks, start=2):
        path = _folder(seed, options) / f"{name or arm}-{number}-{task}"
        method = ("--method", "conure") if protects else ("--method", "full", f"trainer.epochs={2 * EPOCHS[task]}")
        start = ("transfer", *method, "--from", str(cells[-1].path), "--task", task)
        cells.append(Cell(path, (*start, PRESET, f"seed={seed}")))
    return cells


def base(seed: int, options: argparse.Namespace) -> Cell:
    """Return the pre-training of a seed, in the size that is asked for."""
    words = ("pretrain", PRESET, f"dataset={options.dataset}", f"seed={seed}", *SIZES[options.size], *options.pretrain)
    return Cell(_folder(seed, options) / "base", words)


def _folder(seed: int, options: argparse.Namespace) -> Path:
    own: Path = options.runs / f"s{seed}"
    return own if not SIZES[options.size] else own / options.size.replace(" ", "").replace(",", "-")


def _prune(first: Cell, name: str, method: tuple[str, ...], seed: int, options: argparse.Namespace) -> Cell:
    words = ("prune", str(first.path), *method, PRESET, f"seed={seed}")
    return Cell(_folder(seed, options) / f"{name}-1", words)


def _single(first: Cell, arm: str, task: str, seed: int, options: argparse.Namespace) -> Cell:
    settings = (f"trainer.epochs={2 * EPOCHS[task]}", *OWN.get(arm, ()))
    words = ("transfer", "--method", arm, "--from", str(first.path), "--task", task, PRESET, f"seed={seed}", *settings)
    return Cell(_folder(seed, options) / f"{arm}-{task}", words)


def _joint(first: Cell, seed: int, options: argparse.Namespace) -> Cell:
    # One readout serves all parts, and one rate.
    epochs = f"trainer.epochs={2 * EPOCHS['joint_ml']}"
    settings = ("protocol.readout=mean+items", epochs, "trainer.validate_users=1000")
    parts = tuple(
        f"task.parts.{part}.{key}" for part in ("liked", "loved") for key in ("recent=3", "bias=true", "start=shares")
    )
    words = ("transfer", "--method", "full", "--from", str(first.path), "--task", "joint_ml", PRESET, f"seed={seed}")
    return Cell(_folder(seed, options) / "joint", (*words, *settings, *parts))


def _row(arm: str, seed: int, scores: dict[str, float], cells: list[Cell]) -> dict[str, Any]:
    records = [cell.record for cell in cells]
    return {
        "arm": arm, "seed": seed, "scores": scores, "seconds": sum(record["seconds"] for record in records),
        "bytes": sum(record["weights"]["bytes"] for record in records), "updates": sum(map(_updates, cells)),
        "backbones": len(cells) - 1 if arm.startswith("full") else len(cells) if arm == "scratch" else 1,
    }  # fmt: skip


def _updates(cell: Cell) -> int:
    """Count the updates of all phases of a run, those after its best epoch included."""
    lines = [json.loads(line) for line in (cell.path / "log.jsonl").read_text().splitlines()]
    done = {line["phase"]: line["updates"] for line in lines if "updates" in line}
    return sum(done.values())


def _score(cell: Cell) -> float:
    told = json.loads((cell.path / "metrics.json").read_text())["metrics"]
    return float(told["ndcg@10"] if "ndcg@10" in told else told["accuracy"])


def _metric(task: str) -> str:
    return "ndcg@10" if task in ("chain_liked", "chain_loved") else "accuracy"


def write_table(results: list[dict[str, Any]], names: dict[str, str] | None = None) -> list[str]:
    """Write a row an arm: mean and, over several seeds, the deviation; of chains also what was scored when learned."""
    columns = (FIRST, *TASKS)
    head = [*(name.removeprefix("chain_") for name in columns), "backbones", "MB", "updates", "minutes"]
    lines = [f"| arm | {' | '.join(head)} |", "| --- |" + " ---: |" * len(head)]
    for arm, name in (names or NAMES).items():
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
        figures.append(_figure([score[column] for score in scores if column in score]))
    size, updates, seconds = (float(np.mean([row[key] for row in own])) for key in ("bytes", "updates", "seconds"))
    cost = f"{own[0]['backbones']} | {size / 1e6:.1f} | {updates:,.0f} | {seconds / 60:.1f}"
    return f"| {name} | {' | '.join(figures)} | {cost} |"


def _figure(values: list[float]) -> str:
    """Write a mean and, of several, their deviation."""
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}" if values else "-"


def _options() -> argparse.Namespace:
    parser = made.parser(__doc__, Path("runs/conure"))
    parser.add_argument("--dataset", default="ml-1m")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--pretrain", nargs="*", default=[], help="overrides of the base, such as trainer.epochs=40")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    arms = (*SINGLE, "joint")
    parser.add_argument("--arms", nargs="+", default=list(arms), choices=arms, help="controls beside the chains")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=SIZES)
    parser.set_defaults(size="d = 64")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

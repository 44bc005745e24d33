"""The table of docs/results.md on fast objectives: what each reaches beside the exact softmax, and in what time.

Every arm of a data set has the same encoder, split, rate and number of epochs, so the same number of updates; the best
epoch by validation is kept. Nothing is tuned for an arm but the rate of `rowwise`, whose optimiser has another scale:
it is chosen on seed 0 by validation, from TABLE_RATES. Test events are read once, after that choice.

Each cell is one `userrep` command, so the script goes on where it stopped.
"""

import argparse
import json
import sys
from pathlib import Path

import cells as made
import numpy as np
from cells import Cell

SHARED = (
    "model=nextitnet", "model.scaled=true", "protocol=next_item", "protocol.history=50", "trainer.length=50",
    "trainer.patience=0", "trainer.validate_users=5000",
)  # fmt: skip
DATA: dict[str, tuple[str, ...]] = {  # 3,416 and 27,637 items
    "ml-1m": (
        "dataset=ml-1m", "model.dilations=[1,4,1,4]", "trainer.batch_size=64", "trainer.lr=0.003", "trainer.epochs=4",
    ),
    "kitchen": (
        "dataset=amazon-food-kitchen-large", "protocol.source=kitchen", "model.dilations=[1,2]", "model.dropout=0.5",
        "trainer.batch_size=128", "trainer.lr=0.001", "trainer.epochs=6",
    ),
}  # fmt: skip
SAMPLED = ("objective=next_item_sampled",)  # 1,024 negatives that a batch shares
ARMS: dict[str, tuple[str, ...]] = {
    "exact": ("objective=next_item", "objective.loss=full"),
    "sampled": (*SAMPLED, "trainer.tables=dense"),
    "sampled, lazy": (*SAMPLED, "trainer.tables=lazy"),
    "sampled, rowwise": (*SAMPLED, "trainer.tables=rowwise"),
    "gbce": ("objective=next_item_gbce",),
    "bpr": ("objective=next_item_bpr",),
}
RATED = "sampled, rowwise"
TABLE_RATES = (0.02, 0.05, 0.1)
METRIC = "ndcg@10"


def main() -> int:
    """Run what is missing, data set after data set; return 0 when all cells are there."""
    options = _options()
    for data in options.data:
        made.run([cell(arm, data, 0, options) for arm in ARMS if arm != RATED], options)
        made.run(trials(data, options), options)
        cells = {arm: [settled(arm, data, seed, options) for seed in options.seeds] for arm in ARMS}
        every = [one for own in cells.values() for one in own]
        made.run(every, options)
        made.evaluate(every, options)
        print(f"\n{data}\n" + "\n".join(table(cells)))
        words = ("--reference", str(cells["exact"][0].path), "--metric", METRIC)
        print(made.userrep(("compare", *(str(one.path) for one in every), *words), options), flush=True)
    return 0


def cell(arm: str, data: str, seed: int, options: argparse.Namespace, *more: str) -> Cell:
    """Return the pre-training of an arm."""
    name = "-".join((*arm.replace(",", "").split(), *(text.partition("=")[2] for text in more)))
    command = ("pretrain", *SHARED, *DATA[data], *ARMS[arm], *more, f"seed={seed}")
    return Cell(options.runs / data / f"{name}-s{seed}", command, more)


def trials(data: str, options: argparse.Namespace) -> list[Cell]:
    """Return the runs among which the rate of the row-wise tables is chosen."""
    return [cell(RATED, data, 0, options, f"trainer.table_lr={rate}") for rate in TABLE_RATES]


def settled(arm: str, data: str, seed: int, options: argparse.Namespace) -> Cell:
    """Return an arm's run of a seed, with what was chosen for it."""
    chosen = made.best(trials(data, options), METRIC, maximise=True).overrides if arm == RATED else ()
    return cell(arm, data, seed, options, *chosen)


def table(cells: dict[str, list[Cell]]) -> list[str]:
    """Return the metric on test, mean and deviation over seeds, the difference from exact, and the median time."""
    lines = ["| objective | NDCG@10 | minus exact | minutes | epoch kept |", "| --- | ---: | ---: | ---: | ---: |"]
    exact = np.array([_score(one) for one in cells["exact"]])
    for arm, own in cells.items():
        scores = np.array([_score(one) for one in own])
        apart = "" if arm == "exact" else _spread(scores - exact, "+")
        minutes = np.median([one.record["training_seconds"] for one in own]) / 60
        kept = ", ".join(str(one.record["best_epoch"]) for one in own)
        lines.append(f"| {arm} | {_spread(scores)} | {apart} | {minutes:.1f} | {kept} |")
    return lines


def _score(one: Cell) -> float:
    return float(json.loads((one.path / "metrics.json").read_text())["metrics"][METRIC])


def _spread(values: np.ndarray, sign: str = "") -> str:
    around = f" ± {values.std(ddof=1):.4f}" if len(values) > 1 else ""
    return f"{values.mean():{sign}.4f}{around}"


def _options() -> argparse.Namespace:
    parser = made.parser(__doc__, Path("runs/objectives"))
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=DATA)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

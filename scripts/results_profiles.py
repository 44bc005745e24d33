"""The profile tables of docs/results.md: five folds of MovieLens 1M, every arm with the same trials.

Each cell is one `userrep` command, so the script goes on where it stopped: finished runs are skipped. Trials run on
fold 0 and are judged by validation alone; the choice is then frozen for the other folds. Test users are read once, by
`userrep evaluate`, after all choices are made.
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import cells as made
from cells import Cell

ARMS = ("head", "last", "peterrec", "full", "scratch")
BASELINES = ("majority", "bag_lr", "svd_lr", "random_encoder")
TASKS = ("gender", "age", "occupation")
FOLDS = range(5)
# Four trials for every arm, each over what may help it: arms that freeze the item table may change it at low rank.
COMMON = ("trainer.patience=0", "trainer.batch_size=64", "protocol.history=200", "task.norm=batch")
SETTINGS: dict[str, tuple[tuple[str, ...], ...]] = {
    "head": tuple(
        (f"trainer.lr={lr}", f"method.table_rank={rank}", f"trainer.epochs={epochs}")
        for (rank, epochs), lr in product(((0, 30), (8, 3)), (0.003, 0.01))
    ),
    **{
        arm: tuple(
            (f"trainer.lr={lr}", f"method.table_rank={rank}", "trainer.epochs=3")
            for rank, lr in product((0, 8), (0.001, 0.003))
        )
        for arm in ("last", "peterrec")
    },
    **{
        arm: tuple(
            (f"trainer.lr={lr}", f"trainer.table_weight_decay={decay}", f"trainer.epochs={epochs}")
            for decay, lr in product((0.0, 0.3), (0.001, 0.003))
        )
        for arm, epochs in (("full", 3), ("scratch", 5))
    },
}
CHOSEN = -1  # for docs/results.md every arm chose the last of its settings; `--settled` takes it without trials
TRIAL_TASK = "gender"  # trials run on fold 0 of this task; their choice is frozen for all folds and tasks


def main() -> int:
    """Run what is missing, in a stated order; return 0 when all cells are there."""
    options = _options()
    overrides = settle(ARMS, options)
    made.run([base(options.runs, fold) for fold in FOLDS], options)
    for task in options.tasks:
        cells = [_baseline(name, task, fold, options) for name, fold in product(BASELINES, FOLDS)]
        cells += [_cell(arm, task, fold, overrides[arm], options) for fold in FOLDS for arm in ARMS]
        made.run(cells, options)
        made.userrep(("evaluate", *(str(cell.path) for cell in cells)), options)
        print(made.userrep(("compare", *(str(cell.path) for cell in cells), "--reference", _full(cells)), options))
    return 0


def _full(cells: list[Cell]) -> str:
    return str(next(cell.path for cell in cells if cell.path.name.startswith("full-")))


def base(runs: Path, fold: int) -> Cell:
    """Return the pre-training that has not seen the fold's validation and test users."""
    overrides = ("trainer.epochs=6", "trainer.lr=0.003", "trainer.batch_size=32", "trainer.patience=0")
    return Cell(runs / f"base-f{fold}", ("pretrain", "dataset=ml-1m", f"protocol.fold={fold}", *overrides))


def settle(arms: Sequence[str], options: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """Make the trials that are missing and return each arm's choice."""
    if options.settled:
        return {arm: SETTINGS[arm][CHOSEN] for arm in arms}
    made.run([base(options.runs, 0)], options)
    made.run([cell for arm in arms for cell in trials(arm, options)], options)
    return {arm: made.best(trials(arm, options), "log_loss", maximise=False).overrides for arm in arms}


def trials(arm: str, options: argparse.Namespace) -> list[Cell]:
    """Return an arm's trials, on fold 0 with all labels."""
    options = argparse.Namespace(**{**vars(options), "labels": 1.0})  # chosen once, with all labels
    return [_cell(arm, TRIAL_TASK, 0, setting, options) for setting in SETTINGS[arm]]


def _few(overrides: tuple[str, ...], options: argparse.Namespace) -> tuple[str, ...]:
    """Return settings for few labels: as many updates as with all of them, in smaller batches."""
    if options.labels == 1:
        return overrides
    kept = [text for text in overrides if not text.startswith(("trainer.epochs", "trainer.batch_size"))]
    return (*kept, f"task.label_fraction={options.labels}", "trainer.batch_size=16", "trainer.epochs=20")


def _cell(arm: str, task: str, fold: int, overrides: tuple[str, ...], options: argparse.Namespace) -> Cell:
    short = "-".join(text.rpartition("=")[2] for text in overrides)
    base = ("--from", str(options.runs / f"base-f{fold}"), f"protocol.fold={fold}")
    readout = f"protocol.readout={options.readout}"
    settings = _few((*COMMON, readout, *overrides), options)
    command = ("transfer", "--method", arm, "--task", task, *base, *settings)
    return Cell(_folder(task, options) / f"{arm}-{short}-f{fold}", command, overrides)


def _baseline(name: str, task: str, fold: int, options: argparse.Namespace) -> Cell:
    same = ("protocol.history=200", f"protocol.readout={options.readout}")
    labels = () if options.labels == 1 else (f"task.label_fraction={options.labels}",)
    command = ("baseline", name, "dataset=ml-1m", f"task={task}", f"protocol.fold={fold}", *same, *labels)
    return Cell(_folder(task, options) / f"{name}-f{fold}", command)


def _folder(task: str, options: argparse.Namespace) -> Path:
    labels = "" if options.labels == 1 else f"-{options.labels}"
    return options.runs / options.readout / f"{task}{labels}"


def _options() -> argparse.Namespace:
    parser = made.parser(__doc__, Path("runs/ml1m"), settles=True)
    parser.add_argument("--labels", type=float, default=1.0, help="share of training and validation labels kept")
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--readout", default="mean+items", help="how all arms read a user vector")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

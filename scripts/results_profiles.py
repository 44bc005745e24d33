"""The profile tables of docs/results.md: five folds of MovieLens 1M, every arm with the same trials.

Each cell is one `userrep` command, so the script goes on where it stopped: finished runs are skipped. Trials run on
fold 0 and are judged by validation alone; the choice is then frozen for the other folds. Test users are read once, by
`userrep evaluate`, after all choices are made.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

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
TRIAL_TASK = "gender"  # trials run on fold 0 of this task; their choice is frozen for all folds and tasks


@dataclass(frozen=True)
class Cell:
    """One run: its path and the command that makes it."""

    path: Path
    command: tuple[str, ...]
    overrides: tuple[str, ...] = ()


def main() -> int:
    """Run what is missing, in a stated order; return 0 when all cells are there."""
    options = _options()
    _run([_base(options.runs, 0)], options)
    _run([cell for arm in ARMS for cell in _trials(arm, options)], options)
    chosen = {arm: _best(_trials(arm, options)) for arm in ARMS}
    overrides = {arm: cell.overrides for arm, cell in chosen.items()}
    _run([_base(options.runs, fold) for fold in FOLDS], options)
    for task in options.tasks:
        cells = [_baseline(name, task, fold, options) for name, fold in product(BASELINES, FOLDS)]
        cells += [_cell(arm, task, fold, overrides[arm], options) for fold in FOLDS for arm in ARMS]
        _run(cells, options)
        _userrep(("evaluate", *(str(cell.path) for cell in cells)), options)
        print(_userrep(("compare", *(str(cell.path) for cell in cells), "--reference", _full(cells)), options))
    return 0


def _full(cells: list[Cell]) -> str:
    return str(next(cell.path for cell in cells if cell.path.name.startswith("full-")))


def _base(runs: Path, fold: int) -> Cell:
    overrides = ("trainer.epochs=6", "trainer.lr=0.003", "trainer.batch_size=32", "trainer.patience=0")
    return Cell(runs / f"base-f{fold}", ("pretrain", "dataset=ml-1m", f"protocol.fold={fold}", *overrides))


def _trials(arm: str, options: argparse.Namespace) -> list[Cell]:
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


def _best(cells: list[Cell]) -> Cell:
    return min(cells, key=lambda cell: json.loads((cell.path / "run.json").read_text())["metrics"]["log_loss"])


def _run(cells: list[Cell], options: argparse.Namespace) -> None:
    missing = [cell for cell in cells if not _finished(cell.path)]
    if not missing:
        return
    print(f"{len(missing)} of {len(cells)} cells to run, from {missing[0].path}", flush=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        for cell, seconds in pool.map(lambda cell: (cell, _timed(cell, options)), missing):
            print(f"{seconds:6.0f} s  {cell.path}", flush=True)


def _timed(cell: Cell, options: argparse.Namespace) -> float:
    began = time.monotonic()
    _userrep((*cell.command, "--run", str(cell.path)), options)
    return time.monotonic() - began


def _userrep(command: tuple[str, ...], options: argparse.Namespace) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    full = [sys.executable, "-m", "userrep", *command]
    if command[0] != "compare":
        full += ["--data-dir", str(options.data_dir)]
    done = subprocess.run(full, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(full)}\n{done.stderr[-2000:]}")
    return done.stdout


def _finished(path: Path) -> bool:
    record = path / "run.json"
    return record.exists() and json.loads(record.read_text()).get("status") == "finished"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/ml1m"), help="where the runs go")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--labels", type=float, default=1.0, help="share of training and validation labels kept")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once, one thread each")
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--readout", default="mean+items", help="how all arms read a user vector")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""The cross-domain tables of docs/results.md: kitchen to food and back, on amazon-food-kitchen-large.

The base of a direction learns from the users of the source domain alone, so that one serves all folds: 38,191 users for
kitchen to food, 5,472 for food to kitchen, the negative control. The users of both domains are divided in five folds.

The third direction repeats the main contrast on amazon-food-kitchen, where days are known: what a history holds is of
an earlier day than the target. All its users have both domains, so that each fold has a base of its own, from its
training users. The two data sets are largely the same people: this is no independent replication.

Each cell is one `userrep` command, so the script goes on where it stopped: finished runs are skipped. Trials run on
fold 0 and are judged by validation alone: on `cold_first`, kitchen to food, NextItNet, over rates and over a rank or a
decay, which an arm then keeps; for each other direction, task and encoder over rates. The choice is then frozen for all
folds, also for histories of both domains, for the third direction, and for `cold_k` of the second, where a trial costs
ten minutes. Test users are read once, after all choices are made. What was chosen for docs/results.md is written down
in CHOSEN; `--settled` takes it from there.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import cells as made
from cells import Cell


@dataclass(frozen=True)
class Direction:
    """Where histories are read, whose settings a task takes over, and whether each fold has a base of its own."""

    source: str
    dataset: str = "amazon-food-kitchen-large"
    base_users: str = "source_only"
    settled_by: Mapping[str, str] = field(default_factory=dict)  # the direction that chose for a task
    task: tuple[str, ...] = ()
    pretrain: tuple[str, ...] | None = None  # where it is not as usual

    @property
    def a_base_each_fold(self) -> bool:
        """Whether the base learns from a fold's training users."""
        return self.base_users == "train"


DIRECTIONS = {
    "kitchen-food": Direction("kitchen"),
    "food-kitchen": Direction("food", settled_by={"cold_k": "kitchen-food"}),
    "kitchen-food-by-day": Direction(
        "kitchen",
        "amazon-food-kitchen",
        "train",
        settled_by=dict.fromkeys(("cold_first", "cold_k"), "kitchen-food"),
        task=("task.cut=time",),
    ),
}
RELEASES = {  # of MovieLens, only for results_uaf
    "ml": Direction(
        "ml-1m", "ml-1m-to-100k", pretrain=(
            "objective=next_item_sampled", "trainer.epochs=5", "trainer.lr=0.003", "trainer.batch_size=32",
            "trainer.length=100", "trainer.patience=0", "trainer.validate_users=1000",
        ),
    ),
}  # fmt: skip
EVERY = DIRECTIONS | RELEASES
TASKS: dict[str, tuple[str, ...]] = {
    "cold_first": ("task=cold_first",),
    "cold_k": ("task=cold_k",),
    "cold_k_both": ("task=cold_k", "task.history=both"),  # before a first target, both is the source
}
TRIED_AS = {"cold_k_both": "cold_k"}
FIRST = "cold_first"
KEPT_FROM = ("kitchen-food", FIRST, "nextitnet")  # where an arm's rank or decay is chosen
ARMS: dict[str, tuple[str, ...]] = {
    "nextitnet": ("peterrec", "peterrec_c", "peterrec_d", "lora", "bitfit", "full", "last", "head", "scratch"),
    "sasrec": ("peterrec", "lora", "full", "head", "scratch"),
}
SETTLED_BY = {"peterrec_c": "peterrec", "peterrec_d": "peterrec"}  # variants of an arm take over its settings
BASELINES = ("popularity", "item_knn", "ridge")
FOLDS = range(5)
PRETRAIN = (
    "objective=next_item_sampled", "trainer.lr=0.001", "trainer.batch_size=128", "trainer.length=50",
    "trainer.patience=0", "trainer.validate_users=5000", "model.dropout=0.5",
)  # fmt: skip
# Histories hold seven events on average: two blocks see them all. Chosen on validation events of the base's own users.
SHAPES: dict[str, tuple[str, ...]] = {
    "nextitnet": ("trainer.epochs=15", "model.dilations=[1,2]", "model.scaled=true"),
    "sasrec": ("trainer.epochs=30",),
}
# Each arm tries what may help it: those that freeze the item table may change it at low rank.
COMMON = ("trainer.patience=0", "trainer.batch_size=64", "task.norm=batch", "task.bias=true")
EPOCHS = {"cold_first": 10, "cold_k": 3}  # updates: some 500 and 1,600; the best epoch by validation is kept
LONGER = {"full": 2, "scratch": 2}  # times as many epochs; 3 for arms that train few weights, which take longer
RATES = {"cold_first": (0.0003, 0.001), "cold_k": (0.001, 0.003)}
_TRIED = {"peterrec": (0.001, 8), "full": (0.001, 0.0), "head": (0.001, 8), "scratch": (0.001, 0.3)}
_MORE = _TRIED | {arm: (0.001, 8) for arm in ("lora", "bitfit", "last")}
CHOSEN: dict[tuple[str, str, str], dict[str, tuple[float, float]]] = {  # a rate, and a rank or a decay
    KEPT_FROM: _MORE | {"peterrec": (0.0003, 8)},
    ("kitchen-food", "cold_k", "nextitnet"): _MORE,
    ("food-kitchen", FIRST, "nextitnet"): _TRIED | {"lora": (0.001, 8)},
    ("kitchen-food", FIRST, "sasrec"): {
        "peterrec": (0.001, 8),
        "lora": (0.001, 8),
        "full": (0.001, 0.0),
        "head": (0.0003, 8),
        "scratch": (0.0003, 0.3),
    },
}
# 3,100 training users are too few to learn from a random table which items are popular: all arms start from that.
START = ("task.start=shares",)


def main() -> int:
    """Run what is missing, in a stated order; return 0 when all cells are there."""
    options = _options()
    for direction, model in product(options.directions, options.models):
        made.run([base(direction, model, options, fold) for fold in options.folds], options)
        arms = [arm for arm in ARMS[model] if arm in options.arms]
        for task in options.tasks:
            frozen = settle(arms, direction, task, model, options)
            cells = [
                baseline(name, direction, task, fold, options) for name in options.baselines for fold in options.folds
            ]
            cells += [
                transfer(arm, direction, task, model, fold, frozen[arm], options)
                for fold in options.folds
                for arm in arms
            ]
            made.run(cells, options)
            made.evaluate(cells, options)
            named = [str(cell.path) for cell in cells]
            full = [str(cell.path) for cell in cells if cell.path.name.startswith("full-")]
            print(f"\n{direction}, {task}, {model}")
            print(made.userrep(("compare", *named, "--reference", (full or named)[0]), options), flush=True)
    return 0


def base(direction: str, model: str, options: argparse.Namespace, fold: int = 0) -> Cell:
    """Return the pre-training that serves a fold, or all of them where it learns from users of the source alone."""
    own = EVERY[direction]
    name = f"base-f{fold}" if own.a_base_each_fold else "base"
    said = _conditions(direction, fold if own.a_base_each_fold else 0)
    command = ("pretrain", f"model={model}", *said, *(own.pretrain or (*PRETRAIN, *SHAPES[model])))
    return Cell(options.runs / direction / model / name, command)


def settings(arm: str, task: str) -> list[tuple[str, ...]]:
    """Return an arm's four settings: a rate, then a rank or a decay."""
    tried = TRIED_AS.get(task, task)
    epochs = f"trainer.epochs={EPOCHS[tried] * LONGER.get(arm, 3)}"
    if arm in ("full", "scratch"):
        kept = [f"trainer.table_weight_decay={decay}" for decay in (0.0, 0.3)]
    else:
        kept = [f"method.table_rank={rank}" for rank in (0, 8)]
    return [(f"trainer.lr={rate}", own, epochs) for own, rate in product(kept, RATES[tried])]


def trials(arm: str, direction: str, task: str, model: str, options: argparse.Namespace) -> list[Cell]:
    """Return the runs among which an arm's settings are chosen."""
    arm, (direction, task, model) = SETTLED_BY.get(arm, arm), settled_at(direction, task, model)
    found = settings(arm, task)
    if (direction, task, model) != KEPT_FROM:
        kept = chosen(arm, *KEPT_FROM, options)[1]
        found = [setting for setting in found if setting[1] == kept]
    return [transfer(arm, direction, task, model, 0, setting, options) for setting in found]


def settled_at(direction: str, task: str, model: str) -> tuple[str, str, str]:
    """Return the direction, task and encoder whose trials settle a table."""
    tried = TRIED_AS.get(task, task)
    return DIRECTIONS[direction].settled_by.get(tried, direction), tried, model


def settle(
    arms: Sequence[str], direction: str, task: str, model: str, options: argparse.Namespace
) -> dict[str, tuple[str, ...]]:
    """Make the trials that are missing and return each arm's choice."""
    for place in dict.fromkeys((KEPT_FROM, settled_at(direction, task, model))):
        if untried := [arm for arm in arms if written_down(arm, place, options) is None]:
            made.run([base(place[0], place[2], options)], options)
            made.run([cell for arm in untried for cell in trials(arm, *place, options)], options)
    return {arm: chosen(arm, direction, task, model, options) for arm in arms}


def chosen(arm: str, direction: str, task: str, model: str, options: argparse.Namespace) -> tuple[str, ...]:
    """Return the overrides of an arm's best trial by validation, or those of CHOSEN where it is to be asked."""
    place = settled_at(direction, task, model)
    if (written := written_down(arm, place, options)) is not None:
        rate, kept = written
        return next(own for own in settings(arm, task) if own[0].endswith(f"={rate}") and own[1].endswith(f"={kept}"))
    return made.best(trials(arm, *place, options), "ndcg@10", maximise=True).overrides


def written_down(arm: str, place: tuple[str, str, str], options: argparse.Namespace) -> tuple[float, float] | None:
    """Return what CHOSEN holds of an arm where it is to be asked."""
    return CHOSEN.get(place, {}).get(SETTLED_BY.get(arm, arm)) if options.settled else None


def transfer(
    arm: str, direction: str, task: str, model: str, fold: int, overrides: tuple[str, ...], options: argparse.Namespace
) -> Cell:
    """Return the cell of an arm with given settings."""
    short = "-".join(text.rpartition("=")[2] for text in overrides)
    folder = options.runs / direction / model / options.readout / task
    command = transfer_command(arm, direction, task, model, fold, overrides, options)
    return Cell(folder / f"{arm}-{short}-f{fold}", command, overrides)


def transfer_command(
    arm: str, direction: str, task: str, model: str, fold: int, overrides: tuple[str, ...], options: argparse.Namespace
) -> tuple[str, ...]:
    """Return the command of an arm; overrides of what all arms share stand in for it."""
    start = ("transfer", "--method", arm, "--from", str(base(direction, model, options, fold).path))
    own = made.last_of_each((*COMMON, *START, *overrides))
    return (*start, *_asked(direction, task), *protocol_words(direction, fold, options), *own)


def baseline(arm: str, direction: str, task: str, fold: int, options: argparse.Namespace) -> Cell:
    """Return the cell of a baseline, which chooses its settings on each fold's validation users."""
    folder = options.runs / direction / "baselines" / options.readout / task
    return Cell(folder / f"{arm}-f{fold}", baseline_command(arm, direction, task, fold, options))


def baseline_command(arm: str, direction: str, task: str, fold: int, options: argparse.Namespace) -> tuple[str, ...]:
    """Return the command of a baseline."""
    asked = (f"dataset={DIRECTIONS[direction].dataset}", *_asked(direction, task))
    return "baseline", arm, *asked, *protocol_words(direction, fold, options)


def _asked(direction: str, task: str) -> tuple[str, ...]:
    return *TASKS[task], *EVERY[direction].task


def _conditions(direction: str, fold: int) -> tuple[str, ...]:
    own = EVERY[direction]
    shared = ("protocol=cross_domain", f"protocol.source={own.source}", f"protocol.fold={fold}")
    return f"dataset={own.dataset}", *shared, f"protocol.pretrain_users={own.base_users}"


def protocol_words(direction: str, fold: int, options: argparse.Namespace) -> tuple[str, ...]:
    """Return what a child of a base says of the protocol."""
    return *_conditions(direction, fold)[1:], f"protocol.readout={options.readout}"


def _options() -> argparse.Namespace:
    arms = list(dict.fromkeys(arm for own in ARMS.values() for arm in own))
    parser = made.parser(__doc__, Path("runs/cross-domain"), settles=True)
    parser.add_argument("--directions", nargs="+", default=list(DIRECTIONS), choices=DIRECTIONS)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--models", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--arms", nargs="+", default=arms, choices=arms)
    parser.add_argument("--baselines", nargs="*", default=list(BASELINES), choices=BASELINES)
    parser.add_argument("--folds", nargs="+", type=int, default=list(FOLDS), choices=FOLDS)
    parser.add_argument("--readout", default="mean+items", help="how all arms read a user vector")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

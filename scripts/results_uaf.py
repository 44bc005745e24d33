"""The tables of docs/results.md on routing users through frozen or tuned blocks, against tuning all or none.

kitchen-food     each user's first food event, from kitchen events; base and controls are those of results_cross_domain
kitchen-food-k   all food events of a user, which tells users apart by how many they had before
kitchen-food-both  the same, with what the user had in food in the history
food-kitchen     the other way round
ml               the first film in the later half of each history of MovieLens 100K, from a base of MovieLens 1M: the
                 target is the older

Copies and patches have two trials each on fold 0, the rates of the policy, with hard decisions by the convolution; the
best by validation is frozen for all strategies, policies and folds, that of patches for low-rank changes too. Remedies
for a policy that sends all users one way have a trial each; the best stands as an arm. Controls keep what
results_cross_domain chose for them, which is a rate of 0.001 for all on cold_k. Random decisions tune as many blocks as
the hard ones did on fold 0's validation users. Test users are read once, after all choices are made.

Arms whose policy waits (rewards, and one remedy) train five or four epochs more than the other adaptive ones.

Each cell is one `userrep` command, so the script goes on where it stopped.
"""

import json
import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import cells as made
import results_cross_domain as cross
from cells import Cell

RANK = "method.table_rank=8"  # what all frozen arms of results_cross_domain chose
TUNES = ("copy", "patch", "lora")
SETTLED = {"lora": "patch"}  # whose trials stand for others
RATE, POLICY_RATES = "trainer.lr=0.001", (0.1, 1.0)
REMEDIES: dict[str, tuple[str, ...]] = {
    "budget": ("method.budget=0.5", "method.budget_weight=1.0"),
    "warm": ("method.warm_epochs=4",),
    "hot": ("method.temperature=10.0", "method.temperature_end=5.0"),
}
STRATEGIES = {"hard": (), "soft": (), "rl": ("method.warm_epochs=5",)}
POLICIES = ("mean", "gru", "global")
CONTROLS: dict[str, tuple[str, ...]] = {
    "full": ("--method", "full", "trainer.lr=0.001"),
    "scratch": ("--method", "scratch", "trainer.lr=0.001", "trainer.table_weight_decay=0.3"),
    "head": ("--method", "head", "trainer.lr=0.001", RANK),
    "last": ("--method", "last", "trainer.lr=0.001", RANK),
    "peterrec": ("--method", "peterrec", "trainer.lr=0.0003", RANK),
    "lora": ("--method", "lora", "trainer.lr=0.001", RANK),
}
BASELINES = ("popularity", "item_knn", "ridge")
ADAPTIVE = (
    *(f"{strategy}-{tune}" for strategy in STRATEGIES for tune in TUNES), *(f"policy-{name}" for name in POLICIES),
    "official", "remedied", "random",
)  # fmt: skip
FEW = ("hard-copy", "soft-copy", "hard-patch", "remedied", "random", "full", "head", "peterrec")


@dataclass(frozen=True)
class Setting:
    """What is asked of whom, from which base, and for how many epochs; `direction` is one of results_cross_domain.

    `longer` is for controls that train few weights; `last_word` stands for all arms, whatever they chose.
    """

    direction: str
    task: tuple[str, ...]
    epochs: int
    longer: int
    arms: tuple[str, ...] = (*ADAPTIVE, *CONTROLS)
    last_word: tuple[str, ...] = ()


SETTINGS = {
    "kitchen-food": Setting("kitchen-food", ("task=cold_first",), 12, 30),
    "kitchen-food-k": Setting("kitchen-food", ("task=cold_k",), 4, 6, FEW, ("trainer.lr=0.001",)),
    "kitchen-food-both": Setting(
        "kitchen-food", ("task=cold_k", "task.history=both"), 4, 6, FEW, ("trainer.lr=0.001",)
    ),
    "food-kitchen": Setting("food-kitchen", ("task=cold_first",), 10, 15, FEW, ("trainer.batch_size=128",)),
    "ml": Setting("ml", ("task=cold_first",), 20, 30, FEW),
}
SETTLED_BY = "kitchen-food"


def main() -> int:
    """Run what is missing, in the order of the settings; return 0 when all cells are there."""
    options = _options()
    if "random" in options.arms and "hard-copy" not in options.arms:
        sys.exit("random decisions tune as many blocks as the hard ones: add hard-copy to --arms")
    for name in options.settings:
        own = SETTINGS[name]
        arms = [arm for arm in own.arms if arm in (options.arms or own.arms)]
        made.run([cross.base(own.direction, "nextitnet", options)], options)
        made.run([cell for tune in TUNES for cell in trials(tune, options)], options)
        made.run(remedies(options), options)
        cells = [cell for fold in options.folds for cell in of_fold(name, arms, fold, options)]
        made.run(cells, options)
        if "random" in arms:
            made.run([transfer("hard-copy", name, 0, options)], options)
            cells += [random(name, fold, options) for fold in options.folds]
        made.run(cells, options)
        made.evaluate(cells, options)
        print(f"\n{name}")
        print(made.userrep(("compare", *(str(cell.path) for cell in cells), "--reference", _full(cells)), options))
    return 0


def of_fold(name: str, arms: list[str], fold: int, options: Namespace) -> list[Cell]:
    """Return the cells of a fold but for random decisions, which wait for the hard ones."""
    found = [baseline(kind, name, fold, options) for kind in BASELINES]
    return found + [transfer(arm, name, fold, options) for arm in arms if arm != "random"]


def trials(tune: str, options: Namespace) -> list[Cell]:
    """Return the runs among which the settings of a tuned side are chosen."""
    tune = SETTLED.get(tune, tune)
    tried = {share: (*adaptive("hard", tune), RATE, f"method.policy_rate={share}") for share in POLICY_RATES}
    return [_cell(f"trial-{tune}-{share}", SETTLED_BY, 0, words, options) for share, words in tried.items()]


def chosen(tune: str, options: Namespace) -> tuple[str, ...]:
    """Return the rates of the best trial by validation."""
    best = made.best(trials(tune, options), "ndcg@10", maximise=True)
    return tuple(word for word in best.command if word.startswith(("trainer.lr=", "method.policy_rate=")))


def remedies(options: Namespace) -> list[Cell]:
    """Return the runs among which the remedy is chosen."""
    start = (*adaptive("hard", "copy"), *chosen("copy", options))
    return [_cell(f"trial-{name}", SETTLED_BY, 0, (*start, *words), options) for name, words in REMEDIES.items()]


def remedy(options: Namespace) -> tuple[str, ...]:
    """Return what the best remedy by validation changes."""
    best = made.best(remedies(options), "ndcg@10", maximise=True)
    return next(words for name, words in REMEDIES.items() if f"trial-{name}" in best.path.name)


def adaptive(strategy: str, tune: str, *own: str) -> tuple[str, ...]:
    """Return what makes a UAF arm, but for its rates."""
    words = ("--method", "uaf", f"method.strategy={strategy}", f"method.tune={tune}", RANK)
    return (*words, *STRATEGIES[strategy], *own)


def transfer(arm: str, name: str, fold: int, options: Namespace) -> Cell:
    """Return the cell of an arm on a fold."""
    kind, _, part = arm.partition("-")
    if arm in CONTROLS:
        return _cell(arm, name, fold, CONTROLS[arm], options)
    if arm == "official":  # the published code has one rate, and no change of the table but its training
        return _cell(arm, name, fold, ("--method", "uaf", "method.official=true", RATE), options)
    if arm == "remedied":
        words = (*adaptive("hard", "copy"), *chosen("copy", options), *remedy(options))
        return _cell(arm, name, fold, words, options)
    if kind == "policy":
        words = adaptive("hard", "copy", f"method.policy={part}")
        return _cell(arm, name, fold, (*words, *chosen("copy", options)), options)
    return _cell(arm, name, fold, (*adaptive(kind, part), *chosen(part, options)), options)


def random(name: str, fold: int, options: Namespace) -> Cell:
    """Return random decisions that tune as large a share of blocks as the hard ones, the same on all folds."""
    usage = used(transfer("hard-copy", name, 0, options))
    words = adaptive("hard", "copy", "method.policy=random", f"method.usage={usage:.3f}")
    return _cell("random", name, fold, (*words, *chosen("copy", options)), options)


def used(cell: Cell) -> float:
    """Return the share of tuned blocks among the validation users at the chosen epoch of a run."""
    lines = [json.loads(line) for line in (cell.path / "log.jsonl").read_text().splitlines()]
    return float([line["route:usage"] for line in lines if line.get("best")][-1])


def baseline(kind: str, name: str, fold: int, options: Namespace) -> Cell:
    """Return the cell of a baseline, which chooses its settings on the fold's validation users."""
    own = SETTINGS[name]
    asked = (f"dataset={cross.EVERY[own.direction].dataset}", *own.task)
    return Cell(
        options.runs / "uaf" / name / f"{kind}-f{fold}",
        ("baseline", kind, *asked, *cross.protocol_words(own.direction, fold, options)),
    )


def _cell(arm: str, name: str, fold: int, words: tuple[str, ...], options: Namespace) -> Cell:
    """Return the cell of a transfer: what all share, then what the setting and the arm say."""
    own = SETTINGS[name]
    few = arm in CONTROLS and arm not in ("full", "scratch")
    base = cross.base(own.direction, "nextitnet", options)
    shared = (*cross.COMMON, *cross.START, f"trainer.epochs={own.longer if few else own.epochs}")
    method, said = words[:2], made.last_of_each((*shared, *words[2:], *own.last_word))
    command = ("transfer", *method, "--from", str(base.path), *own.task)
    return Cell(
        options.runs / "uaf" / name / f"{arm}-f{fold}",
        (*command, *cross.protocol_words(own.direction, fold, options), *said),
    )


def _full(cells: list[Cell]) -> str:
    full = [cell.path for cell in cells if cell.path.name.startswith("full-")]
    return str((full or [cell.path for cell in cells])[0])


def _options() -> Namespace:
    parser = made.parser(__doc__, Path("runs/cross-domain"))
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=SETTINGS)
    parser.add_argument("--arms", nargs="+", default=[], choices=[*ADAPTIVE, *CONTROLS])
    parser.add_argument("--folds", nargs="+", type=int, default=list(cross.FOLDS), choices=cross.FOLDS)
    parser.add_argument("--readout", default="mean+items", help="how all arms read a user vector")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

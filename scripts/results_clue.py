"""The tables of docs/results.md on comparing two views of a user: collapse, pre-trainings, views and dropout rates.

All bases of MovieLens 1M learn from every user's training events (`pretrain_users=all`, as the paper does), so that one
serves all folds. Of each pre-training two trials are made, as many updates each, of which one of CLUE reads its users
twice. The one is kept whose frozen vectors tell the labels of fold 0's validation users best, by the sum of the log
losses of three probes; these users are tested in other folds. Trials are two rates, those of the joint loss two weights
at the rate that next item chose. Fine-tuning has one setting for all arms; the dropout is that of the base. Test users
are read once, after all choices are made.

Each cell is one `userrep` command, so the script goes on where it stopped. Parts and folds are made in the order in
which they are named.
"""

import argparse
import json
import sys
from itertools import product
from pathlib import Path

import cells as made
from cells import Cell

SASREC = ("model=sasrec", "model.heads=4", "model.dropout=0.3")
BERT4REC = ("model=bert4rec", "model.heads=4", "model.hidden=64", "model.dropout=0.3")
READ = ("protocol.history=50", "protocol.readout=mean+items")
ML = ("dataset=ml-1m", *READ, "protocol.pretrain_users=all")
SHARED = ("trainer.length=50", "trainer.batch_size=64", "trainer.patience=0")
WINDOWS, USERS = "trainer.epochs=3", "trainer.epochs=10"  # 950 updates: of windows, and of one example a user
SAMPLED = ("loss=sampled", "negatives=512")  # half of the time of a step would be the softmax over all items
RATES = (("trainer.lr=0.001",), ("trainer.lr=0.003",))
PRETRAININGS: dict[str, tuple[str, ...]] = {
    "next_item": (*SASREC, "objective=next_item", *(f"objective.{key}" for key in SAMPLED), WINDOWS),
    "all_action": (*SASREC, "objective=all_action", *(f"objective.{key}" for key in SAMPLED), WINDOWS),
    "cloze": (*BERT4REC, "objective=cloze", *(f"objective.{key}" for key in SAMPLED), WINDOWS),
    "clue": (*SASREC, "objective=clue", "objective.judged=500", USERS),
    "clue_infonce": (*SASREC, "objective=clue_infonce", "objective.judged=500", USERS),
    "joint": (
        *SASREC, "objective=clue_next_item", *(f"objective.parts.next_item.{key}" for key in SAMPLED),
        "objective.parts.clue.judged=500", WINDOWS,
    ),
}  # fmt: skip
WEIGHTS = ("objective.weights.clue=0.1", "objective.weights.clue=1.0")  # of the joint loss, at the rate of next item
LABELS = ("gender", "age", "occupation")
FOLDS = range(5)
SHARES: dict[float, tuple[str, ...]] = {  # of the labels: batches and epochs, some 200 updates each
    1.0: ("trainer.batch_size=64", "trainer.epochs=3"),
    0.4: ("trainer.batch_size=32", "trainer.epochs=4"),
    0.05: ("trainer.batch_size=16", "trainer.epochs=15"),
}
TUNE = ("trainer.lr=0.001", "trainer.patience=0")
LONGER = 3  # times as many epochs for random weights
NEXT = (
    "task=next_item", *(f"task.{key}" for key in SAMPLED), "trainer.length=50", "trainer.batch_size=64",
    "trainer.lr=0.001", "trainer.epochs=2",
)  # fmt: skip
NEXT_ONCE = made.last_of_each((*NEXT, "trainer.epochs=1"))

ABLATIONS: dict[str, tuple[str, ...]] = {
    "clue": (),
    "no-stop-gradient": ("objective.stop_gradient=false",),
    "no-predictor": ("objective.predictor=0",),
    "guard": ("objective.variance=1.0", "objective.covariance=1.0"),
}
FIGURE_6 = (
    "protocol.readout=token", "trainer.epochs=10", "trainer.lr=0.001", "trainer.schedule=constant",
    "objective.judged=500",
)  # fmt: skip
VIEWS: dict[str, tuple[str, ...]] = {
    "dropout-0.3": (),
    "mask-0.3": ("objective.mask=0.3",),
    "crop-0.3": ("objective.crop=0.3",),
    "permute-0.3": ("objective.permute=0.3",),
    **{f"dropout-{rate}": (f"model.dropout={rate}",) for rate in (0.1, 0.5, 0.7, 0.9)},
}
FOOD = ("dataset=amazon-food-kitchen-large", "protocol=cross_domain", "protocol.source=kitchen", *READ)
FOOD_SHARED = ("trainer.length=50", "trainer.batch_size=128", "trainer.patience=0", "trainer.validate_users=2000")
FOOD_PRETRAININGS: dict[str, tuple[str, ...]] = {
    "next_item": (*SASREC, "objective=next_item_sampled", "trainer.epochs=5"),
    "all_action": (*SASREC, "objective=all_action", "objective.loss=sampled", "trainer.epochs=5"),
    "cloze": (*BERT4REC, "objective=cloze", "objective.loss=sampled", "trainer.epochs=5"),
    "clue": (*SASREC, "objective=clue", "objective.judged=500", "trainer.epochs=5"),
    "clue_infonce": (*SASREC, "objective=clue_infonce", "objective.judged=500", "trainer.epochs=5"),
    "joint": (
        *SASREC, "objective=clue_next_item", "objective.parts.next_item.loss=sampled",
        "objective.parts.clue.judged=500", "trainer.epochs=5",
    ),
}  # fmt: skip
COLD = ("task=cold_first", "task.norm=batch", "task.bias=true", "task.start=shares")
COLD_SHARES: dict[float, tuple[str, ...]] = {
    1.0: ("trainer.batch_size=64", "trainer.epochs=10"),
    0.4: ("trainer.batch_size=32", "trainer.epochs=12"),
    0.05: ("trainer.batch_size=16", "trainer.epochs=40"),
}


def main() -> int:
    """Run what is missing of the parts that are asked for; return 0 when all of it is there."""
    options = _options()
    for part in options.parts:
        PARTS[part](options)
    return 0


def ablations(options: argparse.Namespace) -> None:
    """Train CLUE without what keeps it from collapsing, and print what each epoch was like (figure 6)."""
    cells = [ablation(name, options) for name in ABLATIONS]
    made.run(cells, options)
    shown = ("loss", "effective_rank", "projected_rank", "spread", "alignment", "uniformity")
    print("| arm | epoch | " + " | ".join(shown) + " |")
    for cell in cells:
        for line in (cell.path / "log.jsonl").read_text().splitlines():
            told = json.loads(line)
            print(f"| {cell.path.name} | {told['epoch']} | " + " | ".join(f"{told[name]:.3f}" for name in shown) + " |")


def ablation(name: str, options: argparse.Namespace) -> Cell:
    """Return the pre-training of an ablation."""
    command = ("pretrain", *SASREC, "objective=clue", *ML, *SHARED, *FIGURE_6, *ABLATIONS[name])
    return Cell(options.runs / "ablations" / name, ("pretrain", *made.last_of_each(command[1:])))


def pretrainings(options: argparse.Namespace) -> None:
    """Make the trials of each pre-training and print their probes on validation users."""
    for name in PRETRAININGS:
        made.run(trials(name, options), options)
    for name in PRETRAININGS:
        for cell in trials(name, options):
            print(f"{cell.path.name}: {probed(cell, options):.4f}", flush=True)
        print(f"{name}: {chosen(name, options).path.name}", flush=True)


def trials(name: str, options: argparse.Namespace) -> list[Cell]:
    """Return the two trials of a pre-training."""
    settings: tuple[tuple[str, ...], ...] = RATES
    if name == "joint":
        settings = tuple((*chosen("next_item", options).overrides, weight) for weight in WEIGHTS)
    return [
        Cell(_named(options.runs / "bases", name, own), ("pretrain", *PRETRAININGS[name], *ML, *SHARED, *own), own)
        for own in settings
    ]


def probed(cell: Cell, options: argparse.Namespace) -> float:
    """Return the sum of the log losses of the three labels' probes on the validation users of fold 0."""
    kept, run = cell.path.with_name(f"{cell.path.name}.probe.json"), cell.path / "run.json"
    if not kept.exists() or kept.stat().st_mtime < run.stat().st_mtime:  # of a base that was made again
        kept.write_text(made.userrep(("probe", str(cell.path), "--split", "valid", "--json"), options))
    found = json.loads(kept.read_text())["probes"]
    return float(sum(one["metrics"]["log_loss"] for one in found if one["label"] in LABELS))


def chosen(name: str, options: argparse.Namespace) -> Cell:
    """Return the trial of a pre-training whose frozen vectors tell most."""
    cells = trials(name, options)
    made.run(cells, options)
    return min(cells, key=lambda cell: probed(cell, options))


def profiles(options: argparse.Namespace) -> None:
    """Fine-tune every base in full for every label at every share of the labels, fold after fold; compare."""
    for fold in options.folds:
        made.run([profile(*key, fold, options) for key in product(_arms(), LABELS, SHARES)], options)
    for label, share in product(LABELS, SHARES):
        cells = [profile(arm, label, share, fold, options) for fold in options.folds for arm in _arms()]
        made.evaluate(cells, options)
        _compare(f"{label}, {share:.0%} of the labels", cells, options)


def profile(arm: str, label: str, share: float, fold: int, options: argparse.Namespace) -> Cell:
    """Return the fine-tuning of an arm, by name of its pre-training, or of random weights."""
    own = (f"task={label}", f"task.label_fraction={share}", f"protocol.fold={fold}", *READ, *TUNE, *SHARES[share])
    return _tuned(arm, options.runs / "profiles" / f"{label}-{share}" / f"{arm}-f{fold}", own, options)


def next_item(options: argparse.Namespace) -> None:
    """Fine-tune every base on the next item, one that reads both ways by cloze, which is judged alike; compare."""
    asked = {"cloze": ("task=cloze", *NEXT[1:])}
    cells = [_tuned(arm, options.runs / "next" / arm, (*asked.get(arm, NEXT), *READ), options) for arm in _arms()]
    made.run(cells, options)
    made.evaluate(cells, options)
    _compare("next item", cells, options)


def views(options: argparse.Namespace) -> None:
    """Pre-train with each view and each dropout rate, fine-tune on the next item; compare (table III, figure 5)."""
    bases = {name: view(name, options) for name in VIEWS}
    made.run(list(bases.values()), options)
    cells = []
    for name, cell in bases.items():
        command = ("transfer", "--method", "full", "--from", str(cell.path), *NEXT_ONCE, *READ)
        cells.append(Cell(options.runs / "views" / f"{name}-next", command))
    own = _lengthened("scratch", (*NEXT_ONCE, *READ))
    scratch = ("transfer", "--method", "scratch", "--from", str(bases["dropout-0.3"].path), *own)
    cells.append(Cell(options.runs / "views" / "scratch-next", scratch))
    made.run(cells, options)
    made.evaluate(cells, options)
    _compare("views, next item", cells, options, "dropout-0.3-next")


def view(name: str, options: argparse.Namespace) -> Cell:
    """Return the pre-training with a view."""
    usual = (*SASREC, "objective=clue", "objective.judged=500", *ML, *SHARED, "trainer.lr=0.001", "trainer.epochs=5")
    return Cell(options.runs / "views" / name, ("pretrain", *made.last_of_each((*usual, *VIEWS[name]))))


def cold(options: argparse.Namespace) -> None:
    """Pre-train on kitchen alone, fine-tune on the first food event, fold after fold; compare."""
    made.run([food_base(name, options) for name in FOOD_PRETRAININGS], options)
    arms = (*FOOD_PRETRAININGS, "scratch")
    for fold in options.folds:
        made.run([cold_cell(*key, fold, options) for key in product(arms, COLD_SHARES)], options)
    for share in COLD_SHARES:
        cells = [cold_cell(arm, share, fold, options) for fold in options.folds for arm in arms]
        made.evaluate(cells, options)
        _compare(f"cold_first, {share:.0%} of the users", cells, options)


def food_base(name: str, options: argparse.Namespace) -> Cell:
    """Return a pre-training on the users of kitchen alone, with what was chosen on MovieLens."""
    best = chosen(name, options).overrides
    command = ("pretrain", *FOOD_PRETRAININGS[name], *FOOD, *FOOD_SHARED, *best)
    return Cell(options.runs / "food" / name, command)


def cold_cell(arm: str, share: float, fold: int, options: argparse.Namespace) -> Cell:
    """Return the fine-tuning of an arm on a user's first food event."""
    base = food_base("next_item" if arm == "scratch" else arm, options)
    own = (*COLD, f"task.label_fraction={share}", f"protocol.fold={fold}", *READ, *TUNE, *COLD_SHARES[share])
    method = "scratch" if arm == "scratch" else "full"
    command = ("transfer", "--method", method, "--from", str(base.path), *_lengthened(method, own))
    return Cell(options.runs / "food" / f"cold_first-{share}" / f"{arm}-f{fold}", command)


def _arms() -> tuple[str, ...]:
    return (*PRETRAININGS, "scratch")


def _tuned(arm: str, path: Path, own: tuple[str, ...], options: argparse.Namespace) -> Cell:
    base = chosen("next_item" if arm == "scratch" else arm, options)
    method = "scratch" if arm == "scratch" else "full"
    return Cell(path, ("transfer", "--method", method, "--from", str(base.path), *_lengthened(method, own)))


def _lengthened(method: str, overrides: tuple[str, ...]) -> tuple[str, ...]:
    """Return the settings with more epochs for random weights."""
    if method != "scratch":
        return overrides
    epochs = next(int(text.rpartition("=")[2]) for text in overrides if text.startswith("trainer.epochs="))
    return made.last_of_each((*overrides, f"trainer.epochs={LONGER * epochs}"))


def _named(folder: Path, name: str, overrides: tuple[str, ...]) -> Path:
    return folder / "-".join([name, *(text.rpartition("=")[2] for text in overrides)])


def _compare(title: str, cells: list[Cell], options: argparse.Namespace, reference: str = "next_item") -> None:
    first = next(cell for cell in cells if cell.path.name.startswith(reference))
    print(f"\n{title}")
    named = [str(cell.path) for cell in cells]
    print(made.userrep(("compare", *named, "--reference", str(first.path)), options), flush=True)


PARTS = {
    "ablations": ablations,
    "pretrainings": pretrainings,
    "profiles": profiles,
    "next_item": next_item,
    "views": views,
    "cold": cold,
}


def _options() -> argparse.Namespace:
    parser = made.parser(__doc__, Path("runs/clue"))
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--folds", nargs="+", type=int, default=list(FOLDS), choices=FOLDS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

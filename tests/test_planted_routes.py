"""UAF on users of whom half need adaptation (`planted_users`): the policy finds which, and beats tuning all or none.

The generator was finished before any method ran on it, and settings are those of the first try but for the number of
epochs of the quick test, which was chosen on seed 100.

Accuracy on the 400 test users, mean of five seeds: head 0.749, full 0.776, random decisions 0.762; hard over copies
0.999, soft 1.000, hard over low-rank changes 0.998, each with the right side for every user on every seed; hard over
patches 0.911. A patch behind a frozen convolution can fetch little of an older event. On three seeds of five the
policy told the two halves apart without a fault and gave each the other side: the head had turned the frozen one to
what it keeps of the older event, and the patch had to win back the last. That all four are right had been expected.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_users import make_users

from userrep.build import build
from userrep.methods.route_watch import routes_of
from userrep.run import open_run
from userrep.sequences.store import open_prepared
from userrep.stages.restore import restore

SEEDS = range(5)
DATA = (
    "dataset=table", "dataset.path=events.csv", "dataset.users_path=users.csv", "dataset.name=planted",
    "dataset.labels=[wish,group]",
)  # fmt: skip
SHARED = ("trainer.batch_size=32", "trainer.lr=0.003", "trainer.patience=0", "protocol.history=24")
PRETRAIN = (
    "model=nextitnet", "model.width=32", "model.dilations=[1]", "model.dropout=0", "trainer.epochs=8",
    "trainer.length=24",
)  # fmt: skip
TRANSFER = ("task=gender", "task.label=wish", "protocol.readout=last")
ARMS: dict[str, tuple[str, ...]] = {
    "head": ("head",),
    "full": ("full",),
    "random": ("uaf", "method.policy=random"),
    "hard": ("uaf",),
    "soft": ("uaf_soft",),
    "patch": ("uaf_patch",),
    "lora": ("uaf_lora",),
}
ADAPTIVE = ("hard", "soft", "patch", "lora")


def answer(userrep: Any, *words: str) -> Any:
    told = userrep(*words, "--json")
    assert told.code == 0, told.err
    return told.answer


def pretrained(userrep: Any, seed: int) -> str:
    events, labels = make_users(seed)
    Path("events.csv").write_text(events, encoding="utf-8")
    Path("users.csv").write_text(labels, encoding="utf-8")
    answer(userrep, "preprocess", *DATA, "--fresh")
    answer(userrep, "pretrain", *DATA, *PRETRAIN, *SHARED, "--seed", str(seed), "--run", f"base-{seed}")
    return f"base-{seed}"


def accuracy(userrep: Any, base: str, arm: str, seed: int, epochs: int) -> float:
    method, *own = ARMS[arm]
    start = ("transfer", "--method", method, "--from", base, "--run", f"{arm}-{seed}", "--seed", str(seed))
    answer(userrep, *start, *TRANSFER, *SHARED, f"trainer.epochs={epochs}", *own)
    return float(answer(userrep, "evaluate", f"{arm}-{seed}")["metrics"]["accuracy"])


def agreement(path: str) -> float:
    """Return the share of test users whose block is tuned if and only if they need it."""
    with Path("users.csv").open(encoding="utf-8") as file:
        needs = {row["user"]: row["group"] == "g1" for row in csv.DictReader(file)}
    run = open_run(Path(path))
    data, protocol = open_prepared(Path("data"), run.config["dataset"]), build(run.config["protocol"])
    encoder, objective = restore(run, data)
    cases = objective.cases(data, protocol, "test")
    route, _ = routes_of(encoder, objective, data, protocol, cases)
    truth = np.array([needs[data.user_ids[row]] for row in cases.rows])
    assert 0.4 < truth.mean() < 0.6
    return float(((route.mean(axis=1) > 0.5) == truth).mean())


def test_a_policy_finds_the_users_who_need_adaptation(userrep: Any) -> None:
    base = pretrained(userrep, 100)
    assert accuracy(userrep, base, "hard", 100, epochs=10) > 0.9
    assert agreement("hard-100") > 0.9


@pytest.mark.slow
@pytest.mark.timeout(2400)  # some twelve minutes of one core
def test_on_five_seeds_every_kind_of_tuning_finds_them_and_beats_tuning_all_or_none(userrep: Any) -> None:
    found: dict[str, list[float]] = {arm: [] for arm in ARMS}
    agreed: dict[str, list[float]] = {arm: [] for arm in ADAPTIVE}
    for seed in SEEDS:
        base = pretrained(userrep, seed)
        for arm in ARMS:
            found[arm].append(accuracy(userrep, base, arm, seed, epochs=20))
        for arm in ADAPTIVE:
            agreed[arm].append(agreement(f"{arm}-{seed}"))
    print({arm: np.round(values, 3).tolist() for arm, values in found.items()})
    print({arm: np.round(values, 3).tolist() for arm, values in agreed.items()})
    for arm in ADAPTIVE:
        controls = np.max([found[control] for control in ("head", "full", "random")], axis=0)
        assert (np.array(found[arm]) > controls).all(), found
    for arm in ("hard", "soft", "lora"):
        assert min(agreed[arm]) > 0.9, agreed
        assert (np.array(found[arm]) > controls + 0.1).all(), found
    assert all(max(share, 1 - share) > 0.9 for share in agreed["patch"]), agreed

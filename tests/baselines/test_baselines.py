"""What every baseline of conf/ must do: fit its task, choose on validation, repeat, and see no answer."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from userrep.baselines.baseline import Baseline
from userrep.baselines.from_base import FromBase
from userrep.baselines.markov import Markov
from userrep.build import build
from userrep.errors import UsageError
from userrep.files import read_yaml
from userrep.groups import choices, conf_dir
from userrep.models.nextitnet import NextItNet
from userrep.objectives.objective import Objective
from userrep.sequences.protocol import Protocol
from userrep.sequences.seen import item_counts, training_events
from userrep.sequences.store import Prepared

PROTOCOL = Protocol(history=20)
TASKS = {"classification": "gender", "ranking": "next_item"}
OTHER = {"classification": "next_item", "ranking": "gender"}
SMALL: dict[str, Any] = {"width": 8, "dilations": [1], "rank": 4}
NAMES = choices("baseline")
ACROSS = ("ridge", "ridge_recent", "mean_items_ridge", "probe_encoder_ridge")  # not for the next item
ONE_DOMAIN = [name for name in NAMES if name not in ACROSS]


def baseline(name: str, **changes: Any) -> Baseline:
    node = read_yaml(conf_dir() / "baseline" / f"{name}.yaml")
    made: Baseline = build({key: SMALL.get(key, value) for key, value in node.items()} | changes)
    return made


def ready(name: str, data: Prepared, **changes: Any) -> Baseline:
    """Build a baseline; one that reads a base gets a small encoder."""
    made = baseline(name, **changes)
    if isinstance(made, FromBase):
        torch.manual_seed(0)
        made.start_from(NextItNet(data.sequences().vocab_size, 8, [1, 2], 3, 0.0, True))
    return made


def task(name: str) -> Objective:
    made: Objective = build(read_yaml(conf_dir() / "task" / f"{name}.yaml"))
    return made


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> Callable[[str], tuple[Prepared, Objective]]:
    """Return the data and the task that a baseline is tried on."""

    def of(name: str) -> tuple[Prepared, Objective]:
        if name in ACROSS:
            return request.getfixturevalue("two_domains"), request.getfixturevalue("buys")
        return request.getfixturevalue("prepared"), task(TASKS[baseline(name).kind])

    return of


def fitted(name: str, data: Prepared, role: str = "test", seed: int = 0, **changes: Any) -> tuple[Baseline, Any]:
    made = ready(name, data, **changes)
    return made, made.fit_predict(data, PROTOCOL, task(TASKS[made.kind]), role, seed)


@pytest.fixture
def tampered(prepared: Prepared, tmp_path: Path) -> Prepared:
    """The same data set, but what validation and test ask for is shuffled."""
    folder = tmp_path / "tampered"
    shutil.copytree(prepared.path, folder)
    shutil.rmtree(folder / "users")  # labels are then read from the table
    rng, users = np.random.default_rng(1), pl.read_parquet(folder / "users.parquet")
    hidden = prepared.split("folds", 0).user_role != 0
    for label in ("gender", "age"):
        codes = np.array(users[label].to_list())
        codes[hidden] = rng.permutation(codes[hidden])
        users = users.with_columns(pl.Series(label, codes))
    users.write_parquet(folder / "users.parquet")
    place = folder / "domains" / prepared.main / "items.npy"
    items, split = np.load(place), prepared.split("leave_one_out")
    for row, start in enumerate(prepared.sequences().offsets[:-1]):
        late = slice(start + split.train_end[row], prepared.sequences().offsets[row + 1])
        items[late] = rng.integers(2, prepared.sequences().vocab_size, late.stop - late.start)
    np.save(place, items)
    return Prepared(folder)


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_predicts_every_case_repeats_and_takes_the_best_on_validation(name: str, stage: Any) -> None:
    data, aim = stage(name)
    made, again = ready(name, data), ready(name, data)
    result: Any = made.fit_predict(data, PROTOCOL, aim, "test", seed=3)
    cases = aim.cases(data, PROTOCOL, "test")
    assert result.users.tolist() == cases.rows.tolist()
    assert result.kind == made.kind
    if made.kind == "classification":
        assert result.labels.tolist() == cases.targets.tolist()
        assert np.allclose(result.probabilities.sum(axis=1), 1)
        assert (result.probabilities > 0).all()
    assert all(np.isfinite(value) for value in result.metrics().values())
    assert again.fit_predict(data, PROTOCOL, aim, "test", seed=3).metrics() == result.metrics()
    values = [trial.metrics[aim.metric] for trial in made.trials]
    assert [trial.settings for trial in made.trials] == made.candidates()
    assert made.chosen is not None
    assert made.chosen.metrics[aim.metric] == (max(values) if aim.maximise else min(values))
    assert made.validated is not None
    assert made.validated.metrics() == made.chosen.metrics


@pytest.mark.parametrize("name", [name for name in NAMES if baseline(name).kind == "classification"])
def test_labels_of_validation_and_test_users_change_no_probability(
    name: str, prepared: Prepared, tampered: Prepared
) -> None:
    one = {"strengths": [1.0]} if name != "majority" else {}
    kinds = {"weights": ["idf"]} if name in ("bag_lr", "svd_lr") else {}
    answers = [prepared.labels("gender"), tampered.labels("gender")]
    assert not np.array_equal(*answers)
    first, second = (
        fitted(name, prepared, **one, **kinds)[1],
        fitted(name, _labels_only(prepared, tampered), **one, **kinds)[1],
    )
    assert np.array_equal(first.probabilities, second.probabilities)


def _labels_only(prepared: Prepared, tampered: Prepared) -> Prepared:
    """Return the tampered data set with the true events: what a user did may be read, what he is may not."""
    place = Path("domains") / prepared.main / "items.npy"
    shutil.copyfile(prepared.path / place, tampered.path / place)
    return Prepared(tampered.path)


def test_counts_and_transitions_come_from_training_events_alone(prepared: Prepared, tampered: Prepared) -> None:
    assert np.array_equal(item_counts(prepared, PROTOCOL), item_counts(tampered, PROTOCOL))
    tables = []
    for data in (prepared, tampered):
        tables.append(Markov(1)._transitions(data.sequences(), *training_events(data, PROTOCOL)))
    assert (tables[0] != tables[1]).nnz == 0


def test_users_outside_the_fold_teach_nothing_unless_the_protocol_lets_all_be_seen(prepared: Prepared) -> None:
    trained = prepared.split("folds", 0).user_role == 0
    sequences, ends = prepared.sequences(), prepared.split("leave_one_out").train_end
    for mode, users in (("train", np.flatnonzero(trained)), ("all", np.arange(prepared.num_users))):
        counts = np.zeros(sequences.vocab_size, dtype=int)
        for row in users:
            start = sequences.offsets[row]
            for item in sequences.items[start : start + ends[row]]:
                counts[item] += 1
        assert item_counts(prepared, Protocol(pretrain_users=mode)).tolist() == counts.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_for_another_kind_of_task_is_refused(name: str, prepared: Prepared) -> None:
    made = baseline(name)
    with pytest.raises(UsageError, match="is a baseline for"):
        made.fit_predict(prepared, PROTOCOL, task(OTHER[made.kind]))


@pytest.mark.parametrize("name", [name for name in NAMES if baseline(name).needs_base])
def test_without_a_base_the_remedy_is_to_name_one(name: str, stage: Any) -> None:
    with pytest.raises(UsageError, match="reads a pre-trained encoder") as caught:
        baseline(name).fit_predict(*_in_order(stage(name)))
    assert "--from" in caught.value.hint


def _in_order(staged: tuple[Prepared, Objective]) -> tuple[Prepared, Protocol, Objective]:
    return staged[0], PROTOCOL, staged[1]


@pytest.mark.parametrize("name", ["bag_lr", "svd_lr"])
def test_without_scikit_learn_the_remedy_names_the_extra(
    name: str, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("sklearn", "sklearn.linear_model", "sklearn.decomposition"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError) as caught:
        fitted(name, prepared)
    assert "userrep[baselines]" in caught.value.hint


def test_planted_order_and_classes_are_found(prepared: Prepared) -> None:
    ranks = [name for name in ONE_DOMAIN if baseline(name).kind == "ranking"]
    ranked = {name: fitted(name, prepared)[1].metrics()["ndcg@10"] for name in ranks}
    assert min(ranked.values()) == ranked["popularity"]
    for name in ("markov", "markov10", "item_knn_recent", "ease_recent"):
        assert ranked[name] > 1.5 * ranked["popularity"], name
    age = task("age")
    losses = {
        name: baseline(name).fit_predict(prepared, PROTOCOL, age).metrics()["log_loss"]
        for name in ("majority", "bag_lr")
    }
    assert losses["bag_lr"] < 0.7 * losses["majority"]

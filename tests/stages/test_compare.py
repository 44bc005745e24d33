"""`userrep compare`: arms from runs, folds pooled, users paired, protocols not mixed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from userrep.evaluation.per_user import read_per_user
from userrep.run import open_run
from userrep.stages.arms import group


@pytest.fixture
def small(userrep: Any, prepared_data_dir: Path) -> Any:
    """Run a verb on the prepared data set."""
    return lambda *words: userrep(*words, "--data-dir", str(prepared_data_dir), "--json")


@pytest.fixture
def make(small: Any) -> Any:
    """Make a baseline run of a fold and a seed, and return its folder."""

    def made(name: str, fold: int = 0, seed: int = 0, *more: str) -> str:
        words = ("dataset=synthetic", "task=age", f"protocol.fold={fold}", f"seed={seed}", *more)
        told = small("baseline", name, *words)
        assert told.code == 0, told.err
        return str(told.answer["run"])

    return made


ONE = ("baseline.strengths=[1.0]", "baseline.weights=[binary]")


def test_folds_and_seeds_of_one_config_make_one_arm_with_every_user_once(make: Any, small: Any) -> None:
    bags = [make("bag_lr", fold, seed, *ONE) for fold in (0, 1) for seed in (0, 1)]
    shares = [make("majority", fold) for fold in (0, 1)]
    told = small("compare", *bags, *shares, "--reference", shares[1])
    assert told.code == 0, told.err
    answer = told.answer
    assert [(arm["arm"], len(arm["runs"])) for arm in answer["arms"]] == [
        ("baseline bag_lr", 4),
        ("baseline majority", 2),
    ]
    assert (answer["reference"], answer["users"], answer["seeds"]) == ("baseline majority", 120, 2)
    bag, reference = (arm["metrics"]["log_loss"] for arm in answer["arms"])
    results = read_per_user([Path(run) / "per_user.parquet" for run in bags])
    assert bag["value"] == pytest.approx(np.mean([result.metrics()["log_loss"] for result in results]), abs=1e-3)
    assert bag["difference"] == pytest.approx(bag["value"] - reference["value"])
    assert bag["interval"][0] < bag["value"] < bag["interval"][1] < reference["value"]
    low, high = bag["difference_interval"]
    assert low < bag["difference"] < high < 0
    assert bag["p_holm"] < 0.05
    assert "difference" not in reference
    accuracy = answer["arms"][0]["metrics"]["accuracy"]
    assert accuracy["verdict"] == "non-inferior"
    assert accuracy["detectable"] > 0
    assert "smallest detectable difference" in told.err


def test_arms_are_compared_on_the_users_they_share(make: Any, small: Any) -> None:
    told = small("compare", make("majority", 0), make("majority", 1), make("bag_lr", 1, 0, *ONE))
    assert told.answer["users"] == 60
    assert told.answer["users_left_out"] == 60
    assert "left out" in told.err
    apart = small("compare", make("majority", 0), make("bag_lr", 1, 0, *ONE))
    assert apart.code == 3
    assert "no test user" in apart.error["message"]


def test_arms_of_one_name_show_what_differs(make: Any) -> None:
    weak = ("baseline.strengths=[0.3]", "baseline.weights=[binary]")
    arms = group([open_run(make("bag_lr", 0, 0, *extra)) for extra in (ONE, weak)])
    assert [arm.name for arm in arms] == [
        "baseline bag_lr baseline.strengths=[1.0]",
        "baseline bag_lr baseline.strengths=[0.3]",
    ]


def test_unlike_protocols_are_refused_unless_forced(make: Any, small: Any) -> None:
    runs = [make("majority"), make("majority", 0, 0, "protocol.users=paper")]
    told = small("compare", *runs)
    assert told.code == 2
    assert "unlike protocols" in told.error["message"]
    assert "--force" in told.error["hint"]
    forced = small("compare", *runs, "--force")
    assert forced.answer["protocol_hash"] is None
    assert "unlike protocols" in forced.err


def test_a_run_named_twice_counts_once_and_two_runs_of_the_same_users_are_refused(
    make: Any, small: Any, workplace: Path
) -> None:
    run = make("majority")
    assert len(small("compare", run, f"./{run}").answer["arms"][0]["runs"]) == 1
    copy = small("baseline", "majority", "dataset=synthetic", "task=age", "--run", "runs/copy").answer["run"]
    told = small("compare", run, copy)
    assert told.code == 2
    assert "same users" in told.error["message"]


def test_runs_that_were_not_evaluated_or_lack_a_metric_are_refused(make: Any, small: Any) -> None:
    run = make("majority")
    unknown = small("compare", run, "--metric", "accurcy")
    assert unknown.code == 2
    assert "accuracy" in unknown.error["hint"]
    (Path(run) / "per_user.parquet").write_bytes(b"PAR1 no more")
    damaged = small("compare", run)
    assert damaged.code == 3
    assert "per_user.parquet" in damaged.error["message"]
    (Path(run) / "per_user.parquet").unlink()
    told = small("compare", run)
    assert told.code == 2
    assert told.error["hint"] == f"userrep evaluate {run}"

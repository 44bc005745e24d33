"""Several tasks at once through the command line: trained, evaluated, compared, refused."""

from pathlib import Path
from typing import Any

import pytest

from userrep.run import open_run
from userrep.stages.headline import headline

SMALL = ("model.width=16", "model.dilations=[1,2]", "trainer.batch_size=64", "trainer.epochs=1")
TASK = ("protocol.events=chain", "task=joint_ml", "~task.parts.occupation")  # the generated users have none


@pytest.fixture
def small(userrep: Any, prepared_data_dir: Path) -> Any:
    """Run a verb on the prepared data set and expect a code; return its answer or its error."""

    def run(*words: str, code: int = 0) -> Any:
        told = userrep(*words, "--data-dir", str(prepared_data_dir), "--json")
        assert told.code == code, told.err
        return told.answer if code == 0 else told.error

    return run


def test_one_encoder_learns_all_tasks_and_each_is_measured(small: Any) -> None:
    small("pretrain", "dataset=synthetic", *SMALL, "protocol.events=chain", "--run", "base")
    measured = {}
    for method in ("full", "scratch"):
        words = ("--method", method, "--from", "base", *TASK, "trainer.batch_size=64", "trainer.epochs=1")
        made = small("transfer", *words, "--run", method)
        again = small("evaluate", method, "--split", "valid")
        assert again["metrics"] == made["metrics"]
        measured[method] = small("evaluate", method)
    metrics = measured["full"]["metrics"]
    assert {name.partition("/")[0] for name in metrics} == {"liked", "loved", "gender", "age", "overall"}
    assert {"liked/ndcg@10", "loved/mrr@5", "gender/accuracy", "age/log_loss"} <= metrics.keys()
    assert measured["full"]["intervals"].keys() == metrics.keys()
    run = open_run("full")
    assert set(run.record["splits"]) == {"events", "users"}
    assert headline(run) == ("overall", run.record["metrics"]["overall"])
    compared = small("compare", "full", "scratch", "--metric", "gender/accuracy")
    values = [arm["metrics"]["gender/accuracy"]["value"] for arm in compared["arms"]]
    assert values == pytest.approx([measured[method]["metrics"]["gender/accuracy"] for method in measured])


def test_a_base_with_another_cut_is_refused(small: Any) -> None:
    small("pretrain", "dataset=synthetic", *SMALL, "--run", "base")
    told = small("transfer", "--method", "full", "--from", "base", *TASK, "--run", "joint", code=2)
    assert "asks for events after the cut of chain" in told["message"]


def test_a_joint_task_has_no_baseline_and_recommends_nothing(small: Any) -> None:
    told = small("baseline", "popularity", "dataset=synthetic", *TASK, "--run", "base", code=2)
    assert "is a joint task" in told["message"]

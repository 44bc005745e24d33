"""Who chooses the epoch: all users, or as many as asked for, the same whatever the seed."""

from pathlib import Path

import numpy as np
import pytest
from loop import finish, make_job

from userrep.errors import ConfigError
from userrep.sequences.store import Prepared
from userrep.training.trainer import Trainer


def test_few_users_judge_and_all_train(few: Prepared, tmp_path: Path) -> None:
    everyone = make_job(few, tmp_path / "all", "pretrain")
    assert everyone.judges is everyone.users
    losses = [record["loss"] for record in finish(everyone)[2]]
    some = make_job(few, tmp_path / "some", "pretrain", validate_users=20)
    assert some.judges.sum() == 20
    _, _, log = finish(some)
    assert [record["loss"] for record in log] == losses
    expected = some.objective.evaluate(some.encoder.eval(), few, some.protocol, "valid", some.judges).metrics()
    assert next(record for record in reversed(log) if record["best"])["ndcg@10"] == expected["ndcg@10"]


def test_judges_are_trained_users_with_a_case_and_fewer_are_among_more(few: Prepared, tmp_path: Path) -> None:
    masks = []
    for count in (5, 30, 10**6):
        job = make_job(few, tmp_path / str(count), "pretrain", validate_users=count)
        job.users[::2] = False
        job.seed = count
        masks.append(job.judges)
    assert [int(mask.sum()) for mask in masks[:2]] == [5, 30]
    assert (masks[0] <= masks[1]).all()
    assert (masks[1] <= masks[2]).all()
    cases = job.objective.cases(few, job.protocol, "valid")
    assert set(np.flatnonzero(masks[2])) == {row for row in cases.rows if row % 2}


def test_few_users_judge_a_task_on_labels_too(few: Prepared, tmp_path: Path) -> None:
    job = make_job(few, tmp_path / "some", "head", validate_users=3)
    _, _, log = finish(job)
    part = job.objective.evaluate(job.encoder.eval(), few, job.protocol, "valid", job.judges)
    assert len(part) == 3
    assert next(record for record in reversed(log) if record["best"])["log_loss"] == part.metrics()["log_loss"]
    assert len(job.objective.evaluate(job.encoder, few, job.protocol, "valid")) > 3  # a frozen encoder keeps each apart


def test_less_than_nobody_cannot_judge() -> None:
    with pytest.raises(ConfigError, match="validate_users"):
        Trainer(validate_users=-1)

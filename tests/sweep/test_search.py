"""Search: the study hears of validation only, goes on where it stopped, and ends bad trials early."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from userrep.errors import UsageError
from userrep.sweep.ledger import Outcome
from userrep.sweep.search import Aim, Search, logged, validated
from userrep.sweep.space import space_of
from userrep.sweep.trial import Trial

optuna = pytest.importorskip("optuna", reason="needs the extra `search`")

SPACE = space_of(("transfer", "trainer.lr=float:0:1", "method=head,full"))


def make(folder: Path) -> Callable[[Trial], Trial]:
    """Return what gives each trial a run of its own in `folder`."""

    def placed(trial: Trial) -> Trial:
        return Trial(trial.words, trial.name, trial.values, run=folder / trial.key)

    return placed


def search(folder: Path, trials: int = 6, **options: object) -> Search:
    return Search(SPACE, Aim("accuracy", True, trials, **options), folder / "study", make(folder))  # type: ignore[arg-type]


def finish(trial: Trial, value: float) -> Outcome:
    """Leave what the finished run of a trial leaves: validation in its record, a better test metric beside it."""
    assert trial.run is not None
    trial.run.mkdir(exist_ok=True)
    (trial.run / "run.json").write_text(json.dumps({"metrics": {"accuracy": value}}))
    (trial.run / "metrics.json").write_text(json.dumps({"metrics": {"accuracy": 1.0}}))
    return Outcome("finished", 0, run=str(trial.run), answer={"metrics": {"accuracy": 1.0}})


def value_of(trial: Trial) -> float:
    """Score a trial: best at a rate of 0.3, `full` a little better than `head`."""
    return 1 - (float(trial.values["trainer.lr"]) - 0.3) ** 2 - 0.1 * (trial.values["method"] == "head")


def worked(one: Search, most: int = 1000) -> list[Trial]:
    """Work a search off, at most so many trials of it."""
    done: list[Trial] = []
    while len(done) < most and (offered := one.offer((), room=True)):
        done.append(offered[0])
        one.ended(offered[0], finish(offered[0], value_of(offered[0])))
    return done


def test_as_many_trials_are_proposed_as_were_asked_for_and_the_best_is_known(tmp_path: Path) -> None:
    one = search(tmp_path, 25)
    done = worked(one)
    assert len(done) == one.told == 25
    assert one.over()
    best = one.best()
    assert best is not None
    assert best.value == max(map(value_of, done))
    assert best.value > 0.97
    assert best.user_attrs["run"] == str(max(done, key=value_of).run)


def test_the_value_is_that_of_validation_and_never_of_test(tmp_path: Path) -> None:
    one = search(tmp_path, 3)
    worked(one)
    assert all(trial.value < 1.0 for trial in one.study.trials)
    assert validated(str(tmp_path / "nowhere"), "accuracy") is None


def test_the_same_seed_proposes_the_same_whether_or_not_it_was_stopped(tmp_path: Path) -> None:
    whole = [trial.words for trial in worked(search(tmp_path / "whole", 14))]
    parts: list[tuple[str, ...]] = []
    while len(parts) < 14:
        parts += [trial.words for trial in worked(search(tmp_path / "parts", 14), most=3)]
    assert parts == whole
    assert [trial.words for trial in worked(search(tmp_path / "other", 14, seed=1))] != whole


def test_more_trials_may_be_asked_for_later(tmp_path: Path) -> None:
    first = worked(search(tmp_path, 4))
    more = worked(search(tmp_path, 6))
    assert (len(first), len(more)) == (4, 2)
    assert search(tmp_path, 6).over()


def test_what_a_dead_process_was_at_is_proposed_again_with_the_same_values(tmp_path: Path) -> None:
    dead = search(tmp_path, 2)
    (left,) = dead.offer((), room=True)
    alive = search(tmp_path, 2)
    (other,) = alive.offer((), room=True)
    assert other.words != left.words, "the first lives, and keeps its trial"
    assert dead._alive is not None
    dead._alive.release()  # what the system does when it dies
    alive.ended(other, finish(other, 0.5))
    (again,) = alive.offer((), room=True)
    assert again.words == left.words
    assert again.key == left.key
    alive.ended(again, finish(again, 0.6))
    assert alive.told == 2
    assert alive.offer((), room=True) == []
    assert alive.over()


def test_nothing_more_is_proposed_while_something_waits_or_nothing_is_free(tmp_path: Path) -> None:
    one = search(tmp_path, 5)
    assert one.offer((), room=False) == []
    (first,) = one.offer((), room=True)
    assert one.offer((), room=True) == [first]
    (second,) = one.offer({first.key}, room=True)
    assert second.key != first.key


def test_a_trial_that_falls_behind_is_pruned(tmp_path: Path) -> None:
    one = search(tmp_path, 9)
    for _ in range(6):
        (trial,) = one.offer((), room=True)
        log(trial, [0.5, 0.6, 0.7])
        assert not one.hopeless(trial)
        one.ended(trial, finish(trial, 0.7))
    (bad,) = one.offer((), room=True)
    log(bad, [0.5])
    assert not one.hopeless(bad)
    log(bad, [0.5, 0.1])
    assert one.hopeless(bad)
    one.ended(bad, Outcome("pruned", 143, run=str(bad.run)))
    assert one.study.trials[-1].state == optuna.trial.TrialState.PRUNED
    assert one.told == 7


def test_without_a_pruner_nothing_is_pruned(tmp_path: Path) -> None:
    one = search(tmp_path, 9, pruner="none")
    for _ in range(6):
        (trial,) = one.offer((), room=True)
        one.ended(trial, finish(trial, 0.7))
    (bad,) = one.offer((), room=True)
    log(bad, [0.1, 0.0])
    assert not one.hopeless(bad)


def log(trial: Trial, values: list[float]) -> None:
    assert trial.run is not None
    trial.run.mkdir(exist_ok=True)
    lines = [json.dumps({"phase": "train", "epoch": epoch, "accuracy": value}) for epoch, value in enumerate(values)]
    (trial.run / "log.jsonl").write_text("\n".join(lines) + '\n{"phase": "tr', encoding="utf-8")


def test_a_line_that_is_still_being_written_is_left_for_later(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"a": 1.0}\n{"b": 2}\n{"a": NaN}\n{"a": 3}\n{"a": 4')
    assert list(logged(path, "a")) == [1.0, 3.0]
    assert list(logged(tmp_path / "none", "a")) == []


def test_a_trial_that_fails_counts_and_is_not_the_best(tmp_path: Path) -> None:
    one = search(tmp_path, 2)
    for _ in range(2):
        (trial,) = one.offer((), room=True)
        one.ended(trial, Outcome("failed", 4, "the loss is not finite"))
    assert one.over()
    assert one.best() is None
    assert one.study.trials[0].user_attrs["error"] == "the loss is not finite"


def test_a_folder_holds_one_search(tmp_path: Path) -> None:
    search(tmp_path)
    with pytest.raises(UsageError, match="holds another search"):
        Search(space_of(("transfer", "method=head,full")), Aim("accuracy", True, 3), tmp_path / "study", make(tmp_path))
    with pytest.raises(UsageError, match="holds another search"):
        Search(SPACE, Aim("auc", True, 3), tmp_path / "study", make(tmp_path))

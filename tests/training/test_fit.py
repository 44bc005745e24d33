"""The loop: phases, best weights, patience, and going on after any stop as if nothing had happened."""

import json
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import loop
import pytest
import torch

from userrep.errors import ConfigError, DataError, DivergedError, Interrupted
from userrep.sequences.store import Prepared
from userrep.signals import Stop
from userrep.training import fit as fit_module
from userrep.training.checkpoint import Position
from userrep.training.fit import BEST, CHECKPOINT, LAST, fit
from userrep.training.journal import Journal
from userrep.training.weights import read_weights

every_kind = pytest.mark.parametrize("kind", loop.KINDS)


@cache
def reference(data: Prepared, kind: str) -> tuple[loop.Outcome, int]:
    """Run a kind undisturbed, once a process; return what it leaves and how often it reports."""
    with TemporaryDirectory() as folder:
        reports = sum(1 for _ in fit(loop.make_job(data, Path(folder), kind), Stop()))
        return loop.finish(loop.make_job(data, Path(folder) / "again", kind)), reports


@every_kind
def test_a_repetition_is_bit_identical(few: Prepared, tmp_path: Path, kind: str) -> None:
    loop.assert_same(loop.finish(loop.make_job(few, tmp_path, kind)), reference(few, kind)[0])


@every_kind
def test_frequent_checkpoints_change_nothing(few: Prepared, tmp_path: Path, kind: str) -> None:
    job = loop.make_job(few, tmp_path, kind, checkpoint_seconds=0)
    loop.assert_same(loop.finish(job), reference(few, kind)[0])


@pytest.mark.parametrize(("takes", "saved_after"), [(0.0, range(1, 9)), (0.07, (1, 3, 5, 7)), (100.0, (1,))])
def test_saving_takes_its_share_of_short_epochs_and_no_more(
    few: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes: float, saved_after: Sequence[int]
) -> None:
    clock, saved = count(), []
    late = [0.0]

    def slow(path: Path, position: Position, *content: Any) -> None:
        saved.append(position.epoch)
        late[0] += takes
        save(path, position, *content)

    save = fit_module.checkpoint.save
    monkeypatch.setattr(fit_module, "time", SimpleNamespace(monotonic=lambda: late[0] + 1e-6 * next(clock)))
    monkeypatch.setattr(fit_module.checkpoint, "save", slow)
    for report in fit(loop.make_job(few, tmp_path, "pretrain", epochs=8, patience=0), Stop()):
        late[0] += report.record is not None  # an epoch takes a second
    assert saved == [*saved_after, 0]  # and once more when the phase is over


@every_kind
def test_a_run_that_dies_again_and_again_ends_as_one_that_never_died(few: Prepared, tmp_path: Path, kind: str) -> None:
    for _ in range(200):
        if loop.advance(loop.make_job(few, tmp_path, kind, checkpoint_seconds=0), steps=3):
            break
    loop.assert_same(loop.finish(loop.make_job(few, tmp_path, kind, checkpoint_seconds=0)), reference(few, kind)[0])


@every_kind
def test_a_run_that_dies_between_checkpoints_repeats_what_it_lost(few: Prepared, tmp_path: Path, kind: str) -> None:
    outcome, reports = reference(few, kind)
    for steps in range(1, reports, max(1, reports // 3)):
        folder = tmp_path / str(steps)
        loop.advance(loop.make_job(few, folder, kind), steps)
        loop.assert_same(loop.finish(loop.make_job(few, folder, kind)), outcome)


@every_kind
def test_a_signal_checkpoints_and_the_run_goes_on_from_there(few: Prepared, tmp_path: Path, kind: str) -> None:
    outcome, reports = reference(few, kind)
    for steps in range(0, reports - 1, max(1, reports // 3)):
        folder, stop = tmp_path / str(steps), Stop()
        progress = fit(loop.make_job(few, folder, kind), stop)
        for _ in range(steps):
            next(progress)
        stop.received = signal.SIGTERM
        with pytest.raises(Interrupted) as caught:
            list(progress)
        assert caught.value.exit_code == 143
        assert (folder / CHECKPOINT).exists()
        loop.assert_same(loop.finish(loop.make_job(few, folder, kind)), outcome)


@pytest.mark.parametrize(("kind", "before"), [("by_row", False), ("twice", True)])
def test_a_run_that_dies_at_any_renaming_of_a_file_ends_as_one_that_never_died(
    few: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, before: bool
) -> None:
    outcome, _ = reference(few, kind)
    for nth in range(1, 100):
        folder = tmp_path / str(nth)
        job = loop.make_job(few, folder, kind)
        with loop.crashing_at(os, monkeypatch, nth, before) as calls, suppress(loop.Crash):
            loop.finish(job)
        if calls[0] < nth:
            break
        with (folder / "log.jsonl").open("a") as log:
            log.write('{"phase": "tr')
        (folder / ".checkpoint.1234.tmp.pt").write_bytes(b"half")
        loop.assert_same(loop.finish(loop.make_job(few, folder, kind)), outcome)
        assert not list(folder.glob(".*.tmp*"))
    assert nth > 5


def test_a_phase_begins_once_and_once_more_where_the_run_goes_on(few: Prepared, tmp_path: Path) -> None:
    begun = loop.make_job(few, tmp_path, "twice", checkpoint_seconds=0)
    method = begun.phases[0].begin.__self__  # type: ignore[union-attr]
    loop.finish(begun)
    assert method.begun == ["upper", "lower"]


def test_resume_inside_the_second_phase_does_not_repeat_the_first(few: Prepared, tmp_path: Path) -> None:
    outcome, reports = reference(few, "twice")
    loop.advance(loop.make_job(few, tmp_path, "twice", checkpoint_seconds=0), reports - 2)
    position = torch.load(tmp_path / CHECKPOINT, weights_only=True)["position"]
    assert position["phase"] == 1
    assert position["updates"] > 0
    job = loop.make_job(few, tmp_path, "twice")
    remaining = list(fit(job, Stop()))
    assert len(remaining) <= 3
    loop.assert_same(loop.finish(job), outcome)


def test_each_phase_trains_its_own_parameters_with_a_fresh_optimiser(few: Prepared, tmp_path: Path) -> None:
    job = loop.make_job(few, tmp_path, "twice", checkpoint_seconds=0)
    start = {name: tensor.clone() for name, tensor in job.encoder.state_dict().items()}
    progress = fit(job, Stop())
    optimisers = {}
    between: dict[str, torch.Tensor] = {}
    for _ in progress:
        if not (tmp_path / CHECKPOINT).exists():
            continue
        content = torch.load(tmp_path / CHECKPOINT, weights_only=True)
        if content["state"]:
            steps = [int(entry["step"]) for entry in content["state"]["optimizer"]["state"].values()]
            assert set(steps) == {content["position"]["updates"]}
            optimisers[content["position"]["phase"]] = len(steps)
        else:
            between = content["weights"]["encoder"]
    now = {name.removeprefix("encoder."): tensor for name, tensor in read_weights(tmp_path / LAST).items()}
    names = [name for name in start if name.startswith("blocks.0.")]
    assert all(torch.equal(between[name], start[name]) for name in names)
    assert not any(torch.equal(now[name], start[name]) for name in names)
    masked = {name: tensor for name, tensor in between.items() if name.startswith("blocks.1.")}
    assert all(torch.equal(now[name], tensor) for name, tensor in masked.items() if name in now)
    assert set(optimisers) == {0, 1}


def test_the_best_epoch_by_validation_is_loaded_at_the_end_and_the_last_is_kept(few: Prepared, tmp_path: Path) -> None:
    job = loop.make_job(few, tmp_path, "full", epochs=6, lr=0.3, clip=0.0, schedule="constant")
    loop.finish(job)
    records = Journal(tmp_path / "log.jsonl").records()
    best = min(records, key=lambda record: record["log_loss"])
    assert best["epoch"] < records[-1]["epoch"]
    assert [record for record in records if record["best"]][-1] == best
    metrics = job.objective.eval().evaluate(job.encoder.eval(), few, job.protocol, "valid").metrics()
    assert metrics["log_loss"] == best["log_loss"]
    last, chosen = read_weights(tmp_path / LAST), read_weights(tmp_path / BEST)
    assert any(not torch.equal(last[name], chosen[name]) for name in chosen)


def test_patience_ends_training_after_so_many_epochs_without_a_better_one(few: Prepared, tmp_path: Path) -> None:
    job = loop.make_job(few, tmp_path, "full", epochs=30, lr=0.3, clip=0.0, patience=2, schedule="constant")
    loop.finish(job)
    records = Journal(tmp_path / "log.jsonl").records()
    best = [record for record in records if record["best"]][-1]["epoch"]
    assert records[-1]["epoch"] == best + 2 < 30


@pytest.mark.parametrize("kind", ["pretrain", "full"])
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_no_broken_checkpoint(
    few: Prepared, tmp_path: Path, kind: str
) -> None:
    job = loop.make_job(few, tmp_path, kind, lr=1e20, clip=0.0, checkpoint_seconds=0, warmup=0.0)
    with pytest.raises(DivergedError, match="not finite") as caught:
        loop.finish(job)
    assert caught.value.exit_code == 4
    assert "trainer.lr" in caught.value.hint
    if (tmp_path / CHECKPOINT).exists():
        assert torch.isfinite(torch.tensor(torch.load(tmp_path / CHECKPOINT)["position"]["loss_sum"]))


def test_a_truncated_checkpoint_is_named_with_a_remedy(few: Prepared, tmp_path: Path) -> None:
    loop.advance(loop.make_job(few, tmp_path, "pretrain", checkpoint_seconds=0), 3)
    whole = (tmp_path / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"checkpoint\.pt cannot be read") as caught:
        loop.finish(loop.make_job(few, tmp_path, "pretrain"))
    assert "--fresh" in caught.value.hint


def test_a_checkpoint_holds_plain_values_and_tensors_only(few: Prepared, tmp_path: Path) -> None:
    loop.advance(loop.make_job(few, tmp_path, "twice", checkpoint_seconds=0), 6)
    content = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert Position(**content["position"]).updates > 0
    assert "optimizer" in content["state"]


def test_a_probe_that_comes_out_otherwise_changes_nothing_in_the_middle_of_a_run(
    few: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("userrep.training.precision.has_bfloat16", lambda device: True)
    ended = {}
    for name, later in (("whole", 2.0), ("stopped", 1.0)):
        how = {"precision": "auto", "checkpoint_seconds": 0}
        monkeypatch.setattr("userrep.training.precision.measured_gain", lambda device, width: 2.0)
        loop.advance(loop.make_job(few, tmp_path / name, "twice", **how), 3)
        monkeypatch.setattr("userrep.training.precision.measured_gain", lambda device, width, gain=later: gain)
        job = loop.make_job(few, tmp_path / name, "twice", **how)
        loop.finish(job)
        assert job.settled == {"device": "cpu", "tables": "dense", "precision": "bf16"}
        ended[name] = job.encoder.state_dict()
    assert all(torch.equal(ended["whole"][key], ended["stopped"][key]) for key in ended["whole"])


def test_a_metric_the_task_does_not_have_is_refused_with_those_it_has(few: Prepared, tmp_path: Path) -> None:
    job = loop.make_job(few, tmp_path, "full")
    job.objective.metric = "acuracy"
    with pytest.raises(ConfigError, match="acuracy") as caught:
        loop.finish(job)
    assert "accuracy" in caught.value.hint


def test_every_line_of_the_log_is_json_with_the_same_fields(few: Prepared, tmp_path: Path) -> None:
    loop.finish(loop.make_job(few, tmp_path, "twice"))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len({tuple(line) for line in lines}) == 1
    assert [line["phase"] for line in lines] == ["upper"] * 3 + ["lower"] * 3

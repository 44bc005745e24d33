"""Counted steps: what is drawn on from parts of a batch is what the whole batch takes."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from userrep.planning.advice import to_fit
from userrep.planning.counting import count, count_validation, pieces
from userrep.planning.forecast import Start, bare, forecast
from userrep.planning.ledger import Operation, Stage
from userrep.planning.memory import LASTS, Memory, Row, extended, fullest
from userrep.planning.probe import Steps, look_at_epoch, time_steps
from userrep.planning.rehearsal import Counted, count_step, make_ready
from userrep.planning.roofline import LAUNCH
from userrep.planning.shapes import row_state_bytes
from userrep.training.job import Job

WIDE = ("model=nextitnet", "model.width=32", "model.dilations=[1,2]", "trainer.batch_size=100")


def test_the_line_through_two_parts_of_a_batch_meets_the_whole_one(make_job: Callable[..., Job]) -> None:
    job = make_job(*WIDE)
    ready = make_ready(job, job.phases[0])
    look = look_at_epoch(ready)
    assert look.steps == len(look.order) == 2
    some, more, whole = (count_step(ready, look.largest, users) for users in (40, 70, 100))
    guess = extended(some, more, 100)
    assert guess.cells == whole.cells
    assert guess.peak == pytest.approx(whole.peak, rel=0.03)
    guessed, done = (sum(one.flops for one in step.operations) for step in (guess, whole))
    assert 0.99 * done < guessed < 1.15 * done  # the last examples are the longest: what is drawn on is no less
    assert job.encoder.training


def test_an_exact_line_is_met_exactly() -> None:
    def made(users: int) -> Counted:
        stage = Stage(100 + 7 * users, {"a": 100, "b": 7 * users}, [Operation(10 * users, 30 + users)])
        return Counted(users, 5 * users, {"forward": stage})

    assert extended(made(2), made(4), 64) == made(64)


def test_frozen_layers_keep_no_activations(make_job: Callable[..., Job]) -> None:
    job = make_job(*WIDE, "objective.tied=false", "model.dilations=[1,2,4]")
    look = look_at_epoch(make_ready(job, job.phases[0]))
    peaks = []
    for patterns in (("*",), ("blocks.2.*",)):
        ready = make_ready(job, replace(job.phases[0], trainable=patterns))
        peaks.append(count_step(ready, look.largest, 50).stages["forward"].tags["activations"])
    assert peaks[1] < 0.7 * peaks[0]


def test_parts_of_a_batch_need_the_memory_of_a_part(make_job: Callable[..., Job]) -> None:
    job = make_job(*WIDE, "trainer.accumulate=4")
    assert pieces(job.trainer) == 4
    ready = make_ready(job, job.phases[0])
    look = look_at_epoch(ready)
    assert count(ready, look, None).full.users == -(-len(look.largest.rows) // 4)


def test_steps_are_read_as_a_constant_and_a_share_of_their_positions() -> None:
    cells = np.array([10.0, 20, 30, 40, 50, 60, 70, 80, 90, 100])
    mean, error = Steps(0.5 + 0.01 * cells, cells).mean(np.array([200.0, 300.0]))
    assert mean == pytest.approx(0.5 + 2.5)
    assert error < 1e-9
    falling, _ = Steps(2 - 0.01 * cells, cells).mean(np.array([1000.0]))  # a larger batch is not quicker
    assert falling == pytest.approx((2 - 0.01 * cells).mean())


def test_the_probe_leaves_no_file_and_trains_through_the_loop(make_job: Callable[..., Job]) -> None:
    job = make_job(*WIDE)
    ready = make_ready(job, job.phases[0])
    look = look_at_epoch(ready)
    before = job.encoder.item_vectors().detach().clone()
    timed = time_steps(ready, look, steps=3)
    assert len(timed.seconds) == 3
    assert (timed.seconds > 0).all()
    assert not (job.encoder.item_vectors() == before).all()
    assert not list(job.folder.iterdir())


def test_what_passes_at_another_time_takes_the_place_of_a_smaller_step() -> None:
    step = [Row(LASTS[0], 10), Row(LASTS[1], 20), Row("activations", 40)]
    small, large = Row("evaluation", 30), Row("evaluation", 50)
    assert Memory(tuple(fullest(step, [small])), None).total == 70
    found = Memory(tuple(fullest(step, [large])), 79)
    assert found.total == 80
    assert found.fits is False
    assert [row.what for row in found.rows if not row.together] == ["activations"]


def test_what_does_not_fit_is_told_what_to_change(make_job: Callable[..., Job]) -> None:
    job = make_job(*WIDE)
    ready = make_ready(job, job.phases[0])
    found = forecast(Start(job, 0, 2**62), ready, steps=1, judge=False)
    assert found.memory.fits
    tight = replace(found, memory=replace(found.memory, there=found.memory.total - found.counted.full.peak // 2))
    told = {one.override.partition("=")[0]: one.override.partition("=")[2] for one in to_fit(tight, "objective")}
    users = int(told["trainer.batch_size"])
    assert 1 <= users < 100
    assert int(told["trainer.accumulate"]) == -(-100 // users)
    assert tight.total_at(users) <= (tight.memory.there or 0) < tight.total_at(4 * users)


def test_shapes_alone_have_no_activations(make_job: Callable[..., Job]) -> None:
    job = make_job(*WIDE)
    ready = make_ready(job, job.phases[0])
    memory = bare(Start(job, 5, 5), ready)
    assert memory.total == 5 + 2 * ready.gradient_bytes + ready.optimizer_bytes  # all weights train
    assert count_validation(job).peak > 0


def test_dealt_tables_and_their_state_lie_with_a_process_in_part(make_job: Callable[..., Job]) -> None:
    team = ("objective.loss=sampled", "trainer.devices=4", "trainer.tables=lazy")
    found = {}
    for dealt in (False, True):
        job = make_job(*team, f"trainer.shard_tables={dealt}")
        ready = make_ready(job, job.phases[0])
        known = forecast(Start(job, 0, 2**62), ready, steps=1, judge=False)
        found[dealt] = (ready, bare(Start(job, 5, 5), ready).total, known.memory.of_training, known)
    whole, dealt = found[False], found[True]
    table = sum(one.nbytes for one in dealt[0].by_row)
    away = 0.75 * (table + sum(row_state_bytes("lazy", one) for one in dealt[0].by_row))
    assert away > 0
    assert whole[1] - dealt[1] == away
    assert whole[2] - dealt[2] == away
    told = {one.override for one in to_fit(whole[3], "objective")}
    assert "trainer.shard_tables=true" in told
    assert "trainer.shard_tables=true" not in {one.override for one in to_fit(dealt[3], "objective")}


def test_launches_bound_small_models_on_a_gpu(make_job: Callable[..., Job]) -> None:
    from userrep.planning.gpus import named

    job = make_job(*WIDE)
    found = forecast(Start(job, 0, 2**62, named("h100")), make_ready(job, job.phases[0]), judge=False)
    assert found.times is not None
    launched = len(found.counted.full.operations)
    assert found.times.step.likely == pytest.approx(LAUNCH[1] * launched, rel=0.5)
    assert found.times.probed == 0

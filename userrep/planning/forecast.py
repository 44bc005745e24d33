"""The forecast: memory and time of one phase of a training, on this machine or on a GPU that is not here."""

from dataclasses import dataclass, replace

from userrep.planning.counting import StepCount, Validation, count, count_validation, pieces
from userrep.planning.gpus import Gpu
from userrep.planning.machine import CONTEXT, memory_there, peak_on, resident
from userrep.planning.memory import GRADIENTS, OPTIMIZER, Memory, Row, fullest, parts_of_step
from userrep.planning.probe import (
    SECONDS,
    STEPS,
    Epoch,
    Judged,
    Steps,
    bytes_written_a_second,
    look_at_epoch,
    time_steps,
    time_validation,
)
from userrep.planning.rehearsal import Counted, Ready
from userrep.planning.roofline import on_gpu
from userrep.planning.shapes import array_bytes, row_state_bytes, table_bytes, weight_bytes
from userrep.planning.span import Span, certain
from userrep.training.job import Job
from userrep.training.precision import precision

STEADY = 0.15  # what a machine's speed may drift by, whatever a probe says
STORE, LIBRARIES = "prepared store and its feed", "Python and its libraries"
SEEN = "buffers of the libraries, as seen in the probe"
EVALUATION, LOADING = "evaluation tiles", "the best weights, read back at the end"


@dataclass(frozen=True)
class Start:
    """Where a plan begins: the job, and of this process what was resident before and the peak by then, in bytes."""

    job: Job
    resident: int
    peak: int
    gpu: Gpu | None = None

    @property
    def half(self) -> bool:
        """Whether a GPU that is not here would compute in bf16."""
        asked = self.job.trainer.precision
        return self.gpu is not None and (asked == "bf16" or (asked == "auto" and self.gpu.bf16 is not None))

    @property
    def there(self) -> int | None:
        """The bytes of memory of the device that is planned for."""
        return memory_there(self.job.device) if self.gpu is None else round(self.gpu.memory)


@dataclass(frozen=True)
class Times:
    """Seconds: of a step, of a validation, of what an epoch has besides, of what a phase has once."""

    step: Span
    validation: Span
    besides: Span
    once: Span
    probed: int = 0  # steps that were timed

    def epoch(self, steps: int) -> Span:
        """Return the seconds of an epoch of so many steps."""
        return self.step.times(steps) + self.validation + self.besides


@dataclass(frozen=True)
class Forecast:
    """What a phase will need; `times` is None where its memory is not there, so that nothing was timed."""

    ready: Ready
    look: Epoch
    counted: StepCount
    memory: Memory
    times: Times | None

    @property
    def epochs(self) -> int:
        """The epochs of the phase, at most."""
        own = self.ready.phase.epochs
        return self.ready.job.trainer.epochs if own is None else own

    @property
    def epoch(self) -> Span | None:
        """The seconds of an epoch."""
        return None if self.times is None else self.times.epoch(self.look.steps)

    @property
    def total(self) -> Span | None:
        """The seconds of the phase."""
        if self.times is None:
            return None
        first = self.times.validation if self.ready.job.validate_first or not self.epochs else certain(0.0)
        return self.times.epoch(self.look.steps).times(self.epochs) + first + self.times.once

    @property
    def examples_a_second(self) -> float:
        """The examples that are trained on in a second of steps; 0 where nothing was timed."""
        return 0.0 if self.times is None else self.ready.job.trainer.batch_size / self.times.step.likely

    def total_at(self, users: int) -> int:
        """Return the bytes of all at so many examples at once."""
        return self.memory.total + max(0, self.counted.of(users).peak) - self.counted.full.peak


def bare(start: Start, ready: Ready) -> Memory:
    """Return what shapes alone tell: weights, gradients and optimiser state, also of tensors on no device."""
    state = ready.optimizer_bytes - _state_elsewhere(ready)
    rows = (*_weights(ready), Row(GRADIENTS, ready.gradient_bytes), Row(OPTIMIZER, state))
    return Memory((*rows, Row(LIBRARIES, start.resident, training=False)), start.there)


def forecast(start: Start, ready: Ready, steps: int = STEPS, seconds: float = SECONDS, judge: bool = True) -> Forecast:
    """Count a phase's step and validation and time both where memory allows, the validation if `judge`.

    For a GPU that is not here nothing is timed: counted operations are put under its roofline.
    """
    job = start.job
    job.encoder.to(job.device)
    job.objective.to(job.device)
    if start.gpu is None:
        ready = replace(ready, precision=precision(job.trainer.precision, job.device, job.encoder.width)[1])
    look = look_at_epoch(ready)
    around = _around(start, look)
    counted = count(ready, look, memory_there(job.device))
    validation = count_validation(job) if judge else Validation((), (), 0)
    memory = _memory(start, ready, look, counted.full, validation, around)
    found = Forecast(ready, look, counted, memory, None)
    if start.gpu is not None:
        return replace(found, times=_estimated(start, start.gpu, look, counted, validation))
    if memory.fits is False:
        return found
    timed = time_steps(ready, look, steps, seconds)
    judged = time_validation(job) if judge else Judged(0.0, 0.0)
    times = _timed(ready, look, timed, judged)
    return replace(found, memory=_seen(start, memory), times=times)


def _around(start: Start, look: Epoch) -> list[Row]:
    """Return what lives around the training: the store's arrays, and all that this process holds besides."""
    job = start.job
    if start.gpu is not None or job.device.type != "cpu":
        return [Row("CUDA context and its libraries, assumed", CONTEXT, training=False)]
    inputs = job.objective.inputs(job.data, job.protocol)
    store = array_bytes(inputs.items, inputs.offsets, look.feed, look.order) - look.held
    besides = resident() - weight_bytes(job.encoder, job.objective) - store - look.held
    return [Row(STORE, store, training=False), Row(LIBRARIES, max(start.resident, besides), training=False)]


def _memory(
    start: Start, ready: Ready, look: Epoch, full: Counted, validation: Validation, around: list[Row]
) -> Memory:
    job = start.job
    step = parts_of_step(full, ready.gradient_bytes, ready.optimizer_bytes, _state_elsewhere(ready))
    weights = _weights(ready)
    others = [Row(EVALUATION, validation.peak), Row(LOADING, weight_bytes(job.encoder, job.objective))]
    cached = [Row("user vectors of the frozen encoder", look.cached_bytes)] if look.cached_bytes else []
    return Memory((*weights, *fullest(step, others), *cached, *around), start.there)


def _weights(ready: Ready) -> list[Row]:
    job = ready.job
    whole = weight_bytes(job.encoder, job.objective)
    tables = table_bytes(job.encoder, job.objective, job.encoder.vocab_size)
    away = round(ready.elsewhere * sum(table.nbytes for table in ready.rows.tables))
    return [Row("weights: item tables", tables - away), Row("weights: the rest", whole - tables)]


def _state_elsewhere(ready: Ready) -> int:
    return round(ready.elsewhere * sum(row_state_bytes(ready.rows.kind, table) for table in ready.rows.tables))


def _seen(start: Start, memory: Memory) -> Memory:
    """Add what the probe took above what was counted, if this process never had as much before."""
    peak = peak_on(start.job.device)
    if peak <= max(start.peak, memory.total):
        return memory
    return replace(memory, rows=(*memory.rows, Row(SEEN, peak - memory.total, training=False)))


def _timed(ready: Ready, look: Epoch, timed: Steps, judged: Judged) -> Times:
    """Put measured times together; their ends are apart by what the steps scatter and a machine drifts."""
    mean, error = timed.mean(look.cells)
    apart = max(STEADY, 2 * error / max(mean, 1e-9))
    written = 2 * weight_bytes(ready.job.encoder, ready.job.objective) + ready.optimizer_bytes  # best, and checkpoint
    once = look.caching + max(0.0, judged.first - judged.later)
    devices = ready.job.trainer.devices  # the work is shared; what they tell each other is not counted
    return Times(
        step=certain(mean / devices).wider(min(0.9, apart), 1.5 * apart),
        validation=certain(judged.later / devices).wider(0.3, 0.5),
        besides=certain(look.drawing + written / bytes_written_a_second()).wider(0.5, 1.0),
        once=certain(once).wider(0.3, 0.5),
        probed=len(timed.seconds),
    )


def _estimated(start: Start, gpu: Gpu, look: Epoch, counted: StepCount, validation: Validation) -> Times:
    """Estimate times by the roofline; a step is that of an epoch's mean batch, between the two that were counted."""

    def measure(step: Counted) -> Span:
        halved = (stage.operations for name, stage in step.stages.items() if name != "update")
        exact = step.stages["update"].operations
        return sum((on_gpu(own, gpu, start.half) for own in halved), on_gpu(exact, gpu, False))

    small, full = measure(counted.small), measure(counted.full)
    apart = counted.full.cells - counted.small.cells
    trainer = start.job.trainer
    share = (float(look.cells.mean()) / pieces(trainer) - counted.small.cells) / apart if apart else 1.0
    share = min(1.0, max(0.0, share))
    step = (small.times(1 - share) + full.times(share)).times(trainer.accumulate)
    return Times(step, validation.spans(lambda stage: on_gpu(stage.operations, gpu, False)), certain(0.0), certain(0.0))

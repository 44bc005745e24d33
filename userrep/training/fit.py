"""The training loop: phases, epochs, steps, in one place that knows nothing of methods but their phases."""

import math
import signal
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from userrep import console, team
from userrep.errors import ConfigError, DivergedError, Interrupted, suggest
from userrep.files import sweep
from userrep.methods.surgery import train_only
from userrep.models.shards import deal, unite, whole_with_leader
from userrep.sequences.batches import Feed
from userrep.signals import Stop
from userrep.training import checkpoint
from userrep.training.accumulation import Accumulation, Asked
from userrep.training.checkpoint import Position
from userrep.training.compiling import compile_blocks, undo
from userrep.training.job import Job, Progress
from userrep.training.journal import Journal, Unwritten
from userrep.training.optim import clip_gradients, make_optimizer, set_rate
from userrep.training.precision import precision, settled
from userrep.training.seed import generator, stream
from userrep.training.tables import Rows, choose_rows, marked
from userrep.training.validation import validated
from userrep.training.weights import load_weights, save_weights

CHECKPOINT, BEST, LAST = "checkpoint.pt", "best.safetensors", "last.safetensors"
RARELY = 20  # the end of an epoch is not saved before the work since the last save took so many times as long as saving


def fit(job: Job, stop: Stop) -> Iterator[Progress]:
    """Run all phases, going on from a checkpoint where there is one; the last phase's best weights end up loaded.

    Raises DivergedError where the loss is not finite, Interrupted after a signal, with a checkpoint behind it.
    """
    journal = Journal(job.folder / "log.jsonl") if not team.follows() else Unwritten(job.folder / "log.jsonl")
    if not team.follows():
        sweep(job.folder, (CHECKPOINT, BEST, LAST))
    path = job.folder / CHECKPOINT
    content = checkpoint.load(path) if path.exists() else None
    position = Position() if content is None else Position(**content["position"])
    job.settled = position.settled
    team.agree(0)  # all have read the checkpoint before the leader writes another
    journal.cut(position.log_position)
    if content is not None:
        for phase in job.phases[: position.phase + bool(content["state"])]:
            if phase.begin is not None:
                phase.begin(job.encoder)  # for its parametrisations: the weights come next
        checkpoint.restore(content, job.modules)
        console.note(_going_on(job, position))
    try:
        while position.phase < len(job.phases):
            yield from _Loop(job, journal, position, content, stop).run()
            content = None
    finally:
        undo(job.encoder)  # what is reported and served is made by the blocks as they are written


class _Loop:
    """One phase: its optimiser, its feed and its generators."""

    def __init__(
        self, job: Job, journal: Journal, position: Position, content: dict[str, Any] | None, stop: Stop
    ) -> None:
        self.job, self.journal, self.position, self.stop = job, journal, position, stop
        self.phase = job.phases[position.phase]
        state = content["state"] if content is not None else {}
        if not state and self.phase.begin is not None:
            self.phase.begin(job.encoder)
        trainable = train_only(job.encoder, self.phase.trainable)
        job.objective.requires_grad_(True)
        if team.size() > 1:
            team.share_weights([*job.encoder.state_dict().values(), *job.objective.state_dict().values()])
        rows = self._rows()
        if team.size() > 1 and job.trainer.shard_tables:
            deal(rows.tables)  # before they are brought to a device that may not hold the whole of one
        job.encoder.to(job.device)
        job.objective.to(job.device)
        if not trainable and not any(True for _ in job.objective.parameters()):
            raise self._idle()
        self.feed = self._make_feed(frozen=not trainable)
        self.optimizer = make_optimizer(
            job.encoder, job.objective, job.trainer, job.encoder.vocab_size, self.phase.slower, rows
        )
        wish = settled(job.trainer.precision, position.settled.get("precision"), job.device)
        position.settled["precision"], self.precision, told = precision(wish, job.device, job.encoder.width)
        for sentence in (told, compile_blocks(job.encoder, job.trainer.compile, job.device, job.length)):
            if sentence:
                console.note(sentence)
        self.accumulation = Accumulation(job.objective, job.trainer.accumulate, self.phase.loss is not None)
        self.trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        self.asked = Asked()
        if content is not None and state:
            self.optimizer.load_state_dict(state["optimizer"])
            checkpoint.restore_generators(content)  # making the feed may have drawn from the global stream
        if team.size() > 1:
            place = ("rank", team.rank(), position.phase, position.updates)
            torch.manual_seed(int(stream(job.seed, *place).integers(2**62)))  # each process its own dropout
        self.epochs = job.trainer.epochs if self.phase.epochs is None else self.phase.epochs
        self.steps = len(self._order(0)) if self.epochs else 0
        self.saved_at = self.resumed_at = time.monotonic()
        self.save_took = 0.0
        self.seconds_before = position.seconds

    def run(self) -> Iterator[Progress]:
        """Train the phase to its end and leave its best weights loaded."""
        position = self.position
        if not position.started:
            if self.job.validate_first or self.phase.epochs == 0:
                yield self._validated(epoch=0, losses={}, seen=0)
            position.started = True
        while position.epoch < self.epochs and not self._out_of_patience():
            yield from self._epoch()
        if position.best_epoch is not None:
            if position.phase == len(self.job.phases) - 1:
                self._keep(LAST)
            team.agree(0)  # the leader has written what all read now
        unite()
        if position.best_epoch is not None:
            load_weights(self.job.folder / BEST, self.job.encoder, self.job.objective)
        position.begin_next(self._seconds(), self.journal.position)
        if not team.follows():
            checkpoint.save(self.job.folder / CHECKPOINT, position, self.job.modules, {})

    def _epoch(self) -> Iterator[Progress]:
        position, job = self.position, self.job
        order = self._order(position.epoch)
        loss_sum = torch.tensor(position.loss_sum, dtype=torch.float64, device=job.device)
        job.encoder.train()
        job.objective.train()
        seen, began = 0, time.monotonic()
        while position.step < len(order):
            index = order[position.step]
            loss_sum += self._step(index)
            seen += len(index)
            position.step += 1
            position.updates += 1
            for name, share in job.objective.told.items():
                position.told[name] = position.told.get(name, 0.0) + share.double()
            self._save_if_due(loss_sum)
            yield self._progress(loss_sum / position.step, seen / (time.monotonic() - began))
        self._check_finite(loss_sum)
        sums = {"loss": loss_sum} | {f"loss:{name}": total for name, total in position.told.items()}
        means = {name: float(total) / max(1, len(order)) for name, total in sums.items()}
        position.epoch, position.step, position.loss_sum, position.told = position.epoch + 1, 0, 0.0, {}
        yield self._validated(position.epoch, means, seen / max(1e-9, time.monotonic() - began))
        # Processes of a team save together, and their clocks differ: there each epoch is saved.
        if team.size() > 1 or self._due or self._since_save() >= RARELY * self.save_took:
            self._save(torch.zeros_like(loss_sum))

    def _step(self, index: np.ndarray) -> torch.Tensor:
        job, trainer = self.job, self.job.trainer
        total = self.epochs * self.steps
        set_rate(self.optimizer, trainer, self.position.updates, total)
        if self.phase.pace is not None:
            self.phase.pace(job.encoder, self.position.updates / total)
        self.optimizer.zero_grad(set_to_none=True)
        draws = self._draws()
        asked = Asked(stop=self.stop.received is not None, save=self._due and not team.follows())
        loss, self.asked = self.accumulation.gradient(index, partial(self._loss, draws), self.trained, draws, asked)
        if trainer.clip:
            clip_gradients(self.optimizer, trainer.clip)
        self.optimizer.step()
        return loss

    def _draws(self) -> torch.Generator:
        """Return the generator of this step, the same in all processes of a team, so that they share negatives."""
        return generator(self.job.seed, "draws", self.position.phase, self.position.updates)

    def _loss(self, draws: torch.Generator, index: np.ndarray) -> torch.Tensor:
        job, compute = self.job, self.phase.loss
        batch = self.feed.batch(index).to(job.device)
        with self.precision():
            if compute is None:
                loss = job.objective.loss(job.encoder, batch, draws)
            else:
                loss = compute(job.encoder, job.objective, batch, draws)
        if not loss.requires_grad:
            raise self._idle()
        return loss

    def _validated(self, epoch: int, losses: dict[str, float], seen: float) -> Progress:
        """Validate, log, and keep the weights where they are the best so far."""
        job, position = self.job, self.position
        job.encoder.eval()
        job.objective.eval()
        metrics = validated(job.objective, job.encoder, job.data, job.protocol, job.judges)
        if self.phase.watch is not None:
            metrics = metrics | self.phase.watch(job.encoder, job.objective, job.data, job.protocol, job.judges)
        if job.objective.metric not in metrics:
            raise ConfigError(
                f"task {job.objective.task_name} has no metric '{job.objective.metric}'",
                suggest(job.objective.metric, metrics),
            )
        value = metrics[job.objective.metric]
        sign = 1 if job.objective.maximise else -1
        better = position.best is None or not job.objective.chooses or sign * value > sign * position.best
        position.waited = 0 if better else position.waited + 1
        if better:
            position.best, position.best_epoch = value, epoch
            self._keep(BEST)
        record = {
            "phase": self.phase.name, "epoch": epoch, "updates": position.updates, "loss": None, **losses,
            **metrics, "best": better, "sequences_per_second": round(seen, 1), "seconds": round(self._seconds(), 3),
        }  # fmt: skip
        self.journal.append(record)
        return self._progress(losses.get("loss", math.nan), seen, record)

    def _save_if_due(self, loss_sum: torch.Tensor) -> None:
        asked = self.asked  # in a team what all have agreed on before the step
        if team.size() == 1:
            asked = Asked(stop=self.stop.received is not None, save=self._due)
        if asked.save or asked.stop:
            self._save(loss_sum)
        if asked.stop:
            raise Interrupted(self.stop.received or signal.SIGTERM)

    @property
    def _due(self) -> bool:
        return self._since_save() >= self.job.trainer.checkpoint_seconds

    def _since_save(self) -> float:
        return time.monotonic() - self.saved_at

    def _keep(self, name: str) -> None:
        with whole_with_leader():
            if not team.follows():
                save_weights(self.job.folder / name, self.job.encoder, self.job.objective)

    def _save(self, loss_sum: torch.Tensor) -> None:
        """Write a checkpoint; in a team all processes come along, for the rows that each has."""
        self._check_finite(loss_sum)
        position = self.position
        position.loss_sum, position.seconds = float(loss_sum), self._seconds()
        position.log_position = self.journal.position
        began, state = time.monotonic(), {"optimizer": self.optimizer.state_dict()}
        with whole_with_leader():
            if not team.follows():
                checkpoint.save(self.job.folder / CHECKPOINT, position, self.job.modules, state)
        self.saved_at = time.monotonic()
        self.save_took = self.saved_at - began

    def _make_feed(self, frozen: bool) -> Feed:
        job = self.job
        job.objective.forget()
        feed = job.objective.feed(job.data, job.protocol, job.users, job.length, job.trainer.batch_size)
        if not frozen or self.phase.loss is not None:
            return feed
        job.encoder.eval()
        return job.objective.cached(feed, job.encoder, job.data, job.protocol)

    def _rows(self) -> Rows:
        """Choose the tables that are updated row by row, and let lookups in them say which rows they read."""
        job = self.job
        known = job.objective.read_by_row(job.encoder) if self.phase.loss is None else []
        began_on = self.position.settled.setdefault("device", job.device.type)  # an optimiser's state fits one choice
        rows = choose_rows(job.trainer.tables, known, began_on, job.trainer.shard_tables)
        self.position.settled["tables"] = rows.kind
        marked((job.encoder, job.objective), rows.tables)
        if rows.told:
            console.note(rows.told)
        return rows

    def _order(self, epoch: int) -> list[np.ndarray]:
        return self.feed.order(stream(self.job.seed, "order", self.position.phase, epoch))

    def _out_of_patience(self) -> bool:
        return 0 < self.job.trainer.patience <= self.position.waited

    def _check_finite(self, loss_sum: torch.Tensor) -> None:
        if not torch.isfinite(loss_sum):
            at = f"phase {self.phase.name}, epoch {self.position.epoch + 1}"
            raise DivergedError(
                f"the loss is not finite in {at}", f"lower trainer.lr (now {self.job.trainer.lr}) or set trainer.clip"
            )

    def _idle(self) -> ConfigError:
        task = self.job.objective.task_name
        return ConfigError(
            f"phase {self.phase.name} has nothing to train for {task}: all that its loss reads is frozen",
            "choose a method that trains more, or give the task a head of its own (for next_item: task.tied=false)",
        )

    def _progress(self, loss: float | torch.Tensor, rate: float, record: dict[str, Any] | None = None) -> Progress:
        return Progress(self.position.updates, self.epochs * self.steps, loss, rate, record)

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.resumed_at


def _going_on(job: Job, position: Position) -> str:
    if position.phase >= len(job.phases):
        return "going on: all phases are trained"
    where = f"phase {job.phases[position.phase].name}, epoch {position.epoch + 1}, step {position.step + 1}"
    return f"going on: {where}, after {position.updates:,} updates and {position.seconds:.0f} s"

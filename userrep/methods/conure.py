"""Conure: one encoder learns task after task; each owns its weights for good (Yuan et al., SIGIR 2021)."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import ClassVar

import torch
from torch import Tensor

from userrep.errors import ConfigError
from userrep.methods.method import Method, Phase
from userrep.methods.owned import MOST_TASKS, Owned
from userrep.methods.surgery import (
    change_of,
    change_weight,
    kernels,
    matching,
    original_of,
    vectors,
    weight_before,
    weight_of,
)
from userrep.models.encoder import Encoder
from userrep.models.stem import truncated_normal_
from userrep.objectives.objective import Objective

TABLE = "stem.table.weight"
VECTORS, FREE, COUNTS = ("shared", "own"), ("keep", "zero", "reinitialise"), ("floor", "official")


class Conure(Method):
    """Train on the free weights, prune them, retrain what the task keeps, and freeze it for good.

    Task 1 is made of a pre-trained run: prune, retrain. A later task trains all free weights while it reads the owned
    ones, prunes, retrains. Task s is served by the weights of owners 1 to s, whatever came later.

    keep            share of each tensor's free weights that a task takes, in (0, 1); the spec's 1 - p
    reserve_for     plan for so many tasks of equal size instead; the last takes all that is left
    vectors         norms and biases: shared, frozen after task 1; own, each task has its own
    free            what becomes of free weights after a task: keep (the next starts from them), zero, reinitialise
    retrain_shared  task 1's retraining also trains what is no kernel (item table, norms, biases), and with it a tied
                    head; false: only kernels and heads, as in the authors' code, which unties task 1's head
    dense_last      this is the last task: it takes all free weights and is not pruned
    count           floor: int(share * n) weights of a tensor; official: one more, as the authors' code keeps
    retrain_epochs  of the phase `retrain`; as the trainer says where null
    table           mask the item table too (the paper's Table 5)
    """

    paper: ClassVar[str] = "Yuan et al., SIGIR 2021"
    joint: ClassVar[str] = "weight"
    verbs: ClassVar[tuple[str, ...]] = ("prune", "transfer")
    certified: ClassVar[bool] = True
    settled: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("keep", "reserve_for"), ("vectors",), ("free",), ("count",), ("table",)
    )  # fmt: skip

    def __init__(
        self,
        keep: float | None = None,
        reserve_for: int | None = None,
        vectors: str = "shared",
        free: str = "keep",
        retrain_shared: bool = True,
        dense_last: bool = False,
        count: str = "floor",
        retrain_epochs: int | None = None,
        table: bool = False,
        table_rank: int = 0,
        stem_patch: int = 0,
    ) -> None:
        super().__init__(table_rank, stem_patch)
        if keep is not None and not 0 < keep < 1:
            raise ConfigError(f"keep share is {keep}", "give a share of the free weights in (0, 1)")
        if keep is not None and reserve_for is not None:
            raise ConfigError("method has both keep and reserve_for", "give one of the two")
        if reserve_for is not None and not 2 <= reserve_for <= MOST_TASKS:
            raise ConfigError(f"method.reserve_for is {reserve_for}", f"plan for 2 to {MOST_TASKS} tasks")
        if retrain_epochs is not None and retrain_epochs < 1:
            raise ConfigError(f"method.retrain_epochs is {retrain_epochs}", "give a number of at least 1, or null")
        for name, value, known in (("vectors", vectors, VECTORS), ("free", free, FREE), ("count", count, COUNTS)):
            if value not in known:
                raise ConfigError(f"method.{name} is '{value}'", f"choose from {', '.join(known)}")
        self.keep, self.reserve_for, self.vectors, self.free = keep, reserve_for, vectors, free
        self.retrain_shared, self.dense_last, self.count = retrain_shared, dense_last, count
        self.retrain_epochs, self.table = retrain_epochs, table
        if table and table_rank:
            raise ConfigError("method has both table and table_rank", "mask the item table, or change it; not both")
        self.task = 1

    def accept(self, encoder: Encoder, verb: str, base: str, before: Method | None = None) -> None:
        super().accept(encoder, verb, base, before)
        done = tasks_of(encoder)
        if verb == "transfer" and done == 0:
            raise ConfigError(
                f"base {base} has no task of conure: all its weights are free",
                f"make it task 1 first: userrep prune {base} --method conure",
            )
        if verb == "prune" and done > 0:
            raise ConfigError(
                f"base {base} has {done} task(s) of conure already",
                f"add a task: userrep transfer --method conure --from {base} task=...",
            )
        if verb == "prune" and self.dense_last:
            raise ConfigError(
                "method.dense_last=true for task 1 leaves no free weight for another task",
                "leave it out: it is for the last task of a chain",
            )
        if verb == "transfer" and isinstance(before, Conure) and before.vectors != self.vectors:
            raise ConfigError(
                f"method.vectors is {self.vectors}, and base {base} was made with {before.vectors}",
                f"give method.vectors={before.vectors}: whose norms and biases are is settled for a whole chain",
            )

    def insert(self, encoder: Encoder) -> None:
        self.task = 1 + tasks_of(encoder)
        for name in self._names(encoder):
            if change_of(encoder, name, Owned) is None:
                self._check_new(name)
                change_weight(encoder, name, Owned(weight_of(encoder, name).detach()))
        self._open(encoder)

    def phases(self, encoder: Encoder) -> list[Phase]:
        self._check_room(encoder)
        trained = self._trained(encoder)
        train = Phase("train", trained, begin=self._open)
        if self._takes_all:
            return [train]
        pruned = Phase("prune", trained, begin=self._prune, epochs=0)
        everything = self.task == 1 and self.retrain_shared
        retrain = Phase("retrain", ("*",) if everything else trained, epochs=self.retrain_epochs)
        return [pruned, retrain] if self.task == 1 else [train, pruned, retrain]

    def check(self, encoder: Encoder, phases: list[Phase], objective: Objective) -> None:
        if self.task == 1:
            return
        owned = {original_of(encoder, name)[0] for name, _ in owned_weights(encoder)}
        own = self.belongs(encoder)
        for phase in phases:
            for name in matching(encoder, phase.trainable):
                if name not in owned and not any(fnmatchcase(name, pattern) for pattern in own):
                    raise ConfigError(
                        f"phase {phase.name} of task {self.task} would train {name}, which is no task's own",
                        "leave it frozen: no table_rank, stem_patch or task.history=both after task 1; norms and "
                        "biases may be each task's own: method.vectors=own, from task 1 on",
                    )

    def finish(self, encoder: Encoder) -> None:
        for name, owned in owned_weights(encoder):
            weight = weight_before(encoder, name, owned).detach()
            if self._takes_all:
                owned.take(weight.abs(), weight.numel(), 1.0)
            owned.settle(weight)
            self._renew(original_of(encoder, name)[1].data, owned)

    def serve(self, encoder: Encoder, task: int) -> None:
        for _, owned in owned_weights(encoder):
            owned.serve(task)

    def belongs(self, encoder: Encoder) -> tuple[str, ...]:
        return (*super().belongs(encoder), *(vectors(encoder) if self.vectors == "own" else ()))

    @property
    def _takes_all(self) -> bool:
        return self.dense_last or self.task == self.reserve_for

    @property
    def _share(self) -> float:
        """The share of the free weights that the running task takes."""
        if self._takes_all:
            return 1.0
        if self.reserve_for is not None:
            return 1.0 / (self.reserve_for - self.task + 1)
        return 0.3 if self.keep is None else self.keep

    def _names(self, encoder: Encoder) -> list[str]:
        return [*kernels(encoder), *([TABLE] if self.table else [])]

    def _trained(self, encoder: Encoder) -> tuple[str, ...]:
        """Return what a task trains for itself: the tensors behind the owned weights, and what is its own."""
        own = [original_of(encoder, name)[0] for name, _ in owned_weights(encoder)]
        return (*own, *(vectors(encoder) if self.vectors == "own" else ()), *self.additions(encoder))

    def _open(self, encoder: Encoder) -> None:
        for _, owned in owned_weights(encoder):
            owned.open(self.task)

    def _prune(self, encoder: Encoder) -> None:
        for name, owned in owned_weights(encoder):
            weight = weight_before(encoder, name, owned).detach()
            size = self._size(weight.numel(), float(owned.free)) + (self.count == "official")
            owned.take(weight.abs(), size, self._share)

    def _size(self, elements: int, free: float) -> int:
        """Return how many elements of a tensor the running task takes (spec 1.4).

        Planned tasks are equal: their shares of what is left may fall short of a whole element by rounding alone.
        """
        rounding = 0.0 if self.reserve_for is None else 1e-6
        return int(self._share * free * elements + rounding)

    def _check_new(self, name: str) -> None:
        """Raise ConfigError for a weight that gets owners after task 1: earlier tasks read all of it."""
        if self.task > 1:
            raise ConfigError(
                f"{name} has no owners, and task {self.task} would own weights that earlier tasks read",
                "give method.table and model as the chain began, and no other method in between",
            )

    def _check_room(self, encoder: Encoder) -> None:
        """Raise ConfigError where this task, or the one after it, would find no weight to own."""
        if self.task > MOST_TASKS:
            raise ConfigError(
                f"the chain has {self.task - 1} tasks, and an owner is one byte", "begin another chain from the base"
            )
        if self.reserve_for is not None and self.task > self.reserve_for:
            raise ConfigError(
                f"method.reserve_for plans {self.reserve_for} tasks, and this would be task {self.task}",
                "start the chain again with a larger method.reserve_for: owned weights cannot be given back",
            )
        for name, owned in owned_weights(encoder):
            elements, free = owned.owner.numel(), float(owned.free)
            if not (owned.owner == 0).any():
                raise ConfigError(
                    f"earlier tasks own all {elements:,} weights of {name}: task {self.task} has none",
                    "start the chain again with a smaller method.keep, or with method.reserve_for",
                )
            if self._takes_all:
                continue
            if self.reserve_for is not None:
                if self._size(elements, free) < 1:
                    raise ConfigError(
                        f"method.reserve_for={self.reserve_for}, and {name} has {elements:,} weights: "
                        f"task {self.task} would own none",
                        "give a smaller method.reserve_for, or a wider encoder",
                    )
                continue
            fit = self.task - 1 + self._further(elements, free)
            if fit <= self.task:
                raise ConfigError(
                    f"with method.keep={self._share:g} the {elements:,} weights of {name} are enough for {fit} "
                    f"task{'' if fit == 1 else 's'}: task {fit + 1} would own none",
                    "give a smaller method.keep, a wider encoder, or method.dense_last=true for the last task",
                )

    def _further(self, elements: int, free: float) -> int:
        """Count the tasks that find a weight, this one included, if all take the same share; at most two matter."""
        found = 0
        while found < 2 and self._size(elements, free) >= 1:
            found, free = found + 1, free * (1.0 - self._share)
        return found

    def _renew(self, weight: Tensor, owned: Owned) -> None:
        """Do to the weights that stay free what `free` says."""
        if self.free == "keep":
            return
        fresh = torch.zeros_like(weight)
        if self.free == "reinitialise":
            truncated_normal_(fresh)
        weight.copy_(torch.where(owned.owner == 0, fresh, weight))


def owned_weights(encoder: Encoder) -> Iterator[tuple[str, Owned]]:
    """Yield the name of every weight that has owners, and its owners."""
    for name in [*kernels(encoder), TABLE]:
        owned = change_of(encoder, name, Owned)
        if owned is not None:
            yield name, owned


def tasks_of(encoder: Encoder) -> int:
    """Return how many tasks own weights of an encoder."""
    return max((owned.last() for _, owned in owned_weights(encoder)), default=0)

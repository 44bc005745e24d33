"""Owned: a weight tensor whose elements belong to tasks, one byte an element, so that none can move another's."""

from typing import Any

import torch
from torch import Tensor, nn

MOST_TASKS = 255  # an owner is one byte


class Owned(nn.Module):
    """Read a weight as one task sees it; a parametrisation of the tensor that holds the free elements.

    owner  (like the weight) uint8: 0 free, t owned by task t
    kept   (like the weight) the values of owned elements; no optimiser, decay, momentum or clipping knows of it
    free   () float64: the share of the tensor that the shares of the tasks so far leave free

    Three ways to be read: open (training of a task: all elements, owned ones constant), taken (its retraining: those of
    earlier tasks constant, its own trained, the free ones zero), serving (owners 1 to `task`, constant; the rest zero).
    What is not read is replaced, never multiplied, so that a NaN in a free element stays there.
    """

    owner: Tensor
    kept: Tensor
    free: Tensor
    trains: Tensor
    constant: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("owner", torch.zeros_like(weight, dtype=torch.uint8))
        self.register_buffer("kept", torch.zeros_like(weight))
        self.register_buffer("free", torch.ones((), dtype=torch.float64, device=weight.device))
        # Derived, so that a step pays for one choice between two tensors and for nothing else.
        self.register_buffer("trains", torch.ones_like(weight, dtype=torch.bool), persistent=False)
        self.register_buffer("constant", torch.zeros_like(weight), persistent=False)
        self.task = 1
        self.serving = False

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight as it is read now, in the weight's own shape."""
        if self.serving:
            return self.constant
        return torch.where(self.trains, weight, self.constant)

    def open(self, task: int) -> None:
        """Begin a task: every free element is read and trains."""
        self.task, self.serving = task, False
        self._refresh()

    def take(self, magnitudes: Tensor, count: int, keep: float) -> None:
        """Give the running task the `count` largest free elements; of equal ones, the first in memory order.

        Only free and finite ones: where there are fewer it gets fewer, never one of an earlier task.
        `keep` is the share of the free elements that was asked for; its product over the tasks is `free`.
        """
        ranked = magnitudes.flatten().nan_to_num(nan=-1.0, posinf=-1.0)  # a broken element is nobody's
        ranked = ranked.masked_fill(self.owner.flatten() != 0, -1.0)
        chosen = ranked.sort(descending=True, stable=True).indices[:count]
        owner = self.owner.flatten()
        owner[chosen[ranked[chosen] >= 0]] = self.task
        self.owner.copy_(owner.view_as(self.owner))
        self.free.mul_(1.0 - keep)
        self._refresh()

    def settle(self, weight: Tensor) -> None:
        """End the running task: what it owns is copied to where nothing trains, and it is served."""
        with torch.no_grad():
            self.kept.copy_(torch.where(self.owner == self.task, weight, self.kept))
        self.serve(self.task)

    def serve(self, task: int) -> None:
        """Read the elements of owners 1 to `task` and nothing else."""
        self.task, self.serving = task, True
        self._refresh()

    def last(self) -> int:
        """Return the newest task that owns an element; 0 for none."""
        return int(self.owner.max()) if self.owner.numel() else 0

    def _refresh(self) -> None:
        """Derive what trains and what is constant from the owners."""
        if self.serving:
            read, trains = (self.owner > 0) & (self.owner <= self.task), torch.zeros_like(self.trains)
        else:
            read, trains = (self.owner > 0) & (self.owner < self.task), self.owner == self.task
            if not trains.any():  # open: nothing is taken yet
                trains = self.owner == 0
        self.trains.copy_(trains)
        self.constant.copy_(torch.where(read, self.kept, torch.zeros_like(self.kept)))

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        """Load, then read as the loaded owners say: a tensor that was open and now has the task's elements is whole."""
        begun = self.serving or self.last() >= self.task
        super()._load_from_state_dict(*args, **kwargs)
        if not begun and self.last() >= self.task:
            self.serving = True
        self._refresh()

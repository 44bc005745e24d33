"""Bytes by shape are the bytes of the tensors that a training really makes."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from userrep.planning.rehearsal import make_ready
from userrep.planning.shapes import array_bytes, table_bytes, weight_bytes
from userrep.signals import Stop
from userrep.training import checkpoint
from userrep.training.fit import CHECKPOINT, fit
from userrep.training.job import Job

SMALL = ("model.width=16",)
CASES = {
    "tied softmax, dense": ("model=sasrec", *SMALL),
    "own table and bias": ("model=nextitnet", *SMALL, "objective.tied=false", "objective.bias=true"),
    "sampled, dense": ("model=gru4rec", *SMALL, "objective.loss=sampled", "trainer.tables=dense"),
    "sampled, lazy": ("model=sasrec", *SMALL, "objective.loss=sampled", "trainer.tables=lazy"),
    "sampled, rowwise": ("model=sasrec", *SMALL, "objective.loss=sampled", "trainer.tables=rowwise"),
    "own table, lazy": ("model=nextitnet", *SMALL, "objective.loss=sampled", "objective.tied=false",
                        "trainer.tables=lazy"),
}  # fmt: skip


def tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from tensors(one)


def trained(job: Job) -> dict[str, Any]:
    """Train an epoch through the loop; return the checkpoint that it wrote."""
    epochs = 0
    for progress in fit(job, Stop()):
        if epochs:
            break
        epochs += progress.record is not None
    return checkpoint.load(job.folder / CHECKPOINT)


@pytest.mark.parametrize("overrides", CASES.values(), ids=CASES.keys())
def test_weights_and_optimiser_take_the_bytes_that_were_predicted(
    make_job: Callable[..., Job], overrides: tuple[str, ...]
) -> None:
    job = make_job(*overrides)
    ready = make_ready(job, job.phases[0])
    predicted = weight_bytes(job.encoder, job.objective), ready.optimizer_bytes
    content = trained(job)
    weights = sum(one.nbytes for one in tensors(content["weights"]))
    kept = sum(one.nbytes for one in tensors(content["state"]["optimizer"]))
    assert predicted == (weights, kept)


def test_tensors_on_no_device_have_the_same_bytes(make_job: Callable[..., Job]) -> None:
    real = make_job("model=sasrec")
    with torch.device("meta"):
        bare = make_job("model=sasrec")
    assert all(parameter.is_meta for parameter in bare.encoder.parameters())
    sizes = [weight_bytes(job.encoder, job.objective) for job in (real, bare)]
    states = [make_ready(job, job.phases[0]).optimizer_bytes for job in (real, bare)]
    assert sizes[0] == sizes[1] > 0
    assert states[0] == states[1] > sizes[0]


def test_tables_are_what_has_a_row_for_each_item(make_job: Callable[..., Job]) -> None:
    job = make_job("model=nextitnet", "model.width=16", "objective.tied=false", "objective.bias=true")
    assert table_bytes(job.encoder, job.objective, job.encoder.vocab_size) == 2 * job.encoder.vocab_size * 16 * 4


def test_arrays_that_share_memory_count_once() -> None:
    class Holder:
        def __init__(self, array: np.ndarray) -> None:
            self.whole, self.part, self.same = array, array[2:5], [array, np.arange(4)]

    held = np.zeros(100)
    assert array_bytes(Holder(held), held[::2]) == 800 + 32
    assert array_bytes(torch.zeros(10, 3)[:2]) == 120

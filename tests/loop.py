"""What tests of the training loop share: small jobs that can be made again, and what a finished one leaves."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from userrep.methods.finetune import Full, Head
from userrep.methods.method import Method, Phase
from userrep.methods.peterrec import PeterRec
from userrep.methods.prune import MagnitudePrune
from userrep.methods.surgery import add_mask
from userrep.models.encoder import Encoder
from userrep.models.nextitnet import NextItNet
from userrep.objectives.classify import Classify
from userrep.objectives.next_item import NextItem
from userrep.objectives.objective import Objective
from userrep.sequences.batches import Batch
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared
from userrep.signals import Stop
from userrep.training.fit import LAST, fit
from userrep.training.job import Job
from userrep.training.journal import WALL_TIME, Journal
from userrep.training.seed import seed_everything
from userrep.training.trainer import Trainer
from userrep.training.weights import read_weights

WIDTH, LENGTH = 8, 10


class Twice(Method):
    """Train the last block, then a mask drawn from the global stream hides weights and only the first block trains."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[str] = []

    def phases(self, encoder: Encoder) -> list[Phase]:
        return [
            Phase("upper", ("blocks.1.*",), begin=self._begin_upper),
            Phase("lower", ("blocks.0.*",), begin=self._begin_lower, epochs=2, loss=self.loss),
        ]

    def _begin_upper(self, encoder: Encoder) -> None:
        self.begun.append("upper")

    def _begin_lower(self, encoder: Encoder) -> None:
        self.begun.append("lower")
        name = "blocks.1.branch.first.op.weight"
        weight = encoder.get_submodule("blocks.1.branch.first.op").weight
        assert isinstance(weight, Tensor)
        add_mask(encoder, name, torch.rand_like(weight) > 0.5)

    @staticmethod
    def loss(encoder: Encoder, objective: Objective, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the objective's loss with noise from the generator, so that a lost generator shows."""
        return objective.loss(encoder, batch, generator) * (1 + 0.1 * torch.rand((), generator=generator))


def pretraining(encoder: Encoder) -> tuple[Objective, list[Phase], str]:
    return NextItem(), [Phase("train", ("*",))], "last"


def sampled(encoder: Encoder) -> tuple[Objective, list[Phase], str]:
    return NextItem(loss="sampled", negatives=8), [Phase("train", ("*",))], "last"


def adapting(make: Callable[[], Method], readout: str, pretraining_task: bool = False) -> Callable[[Encoder], Any]:
    def parts(encoder: Encoder) -> tuple[Objective, list[Phase], str]:
        method = make()
        method.adapt(encoder, readout)
        return NextItem() if pretraining_task else Classify("gender", dropout=0.1), method.phases(encoder), readout

    return parts


KINDS: dict[str, Callable[[Encoder], tuple[Objective, list[Phase], str]]] = {
    "pretrain": pretraining,
    "sampled": sampled,
    "by_row": sampled,
    "full": adapting(Full, "mean+attention"),
    "peterrec": adapting(PeterRec, "token"),
    "head": adapting(Head, "mean"),
    "prune": adapting(lambda: MagnitudePrune(0.5), "last", pretraining_task=True),
    "twice": adapting(Twice, "mean"),
}

OWN: dict[str, dict[str, Any]] = {"by_row": {"tables": "lazy", "table_weight_decay": 0.1}}


def make_job(data: Prepared, folder: Path, kind: str, **changes: Any) -> Job:
    """Make a job from nothing but its seed, as a new process would."""
    folder.mkdir(exist_ok=True)
    seed_everything(5)
    encoder = NextItNet(data.sequences().vocab_size, WIDTH, [1, 2], dropout=0.3, final_norm=True)
    objective, phases, readout = KINDS[kind](encoder)
    protocol = Protocol(history=LENGTH, readout=readout)
    objective.setup(encoder, data, protocol)
    usual = {"epochs": 2, "batch_size": 20, "lr": 0.01, "weight_decay": 0.1, "warmup": 0.2}
    settings = usual | OWN.get(kind, {}) | changes
    users = np.ones(data.num_users, dtype=bool)
    return Job(
        encoder=encoder, objective=objective, phases=phases, data=data, trainer=Trainer(length=LENGTH, **settings),
        protocol=protocol, users=users, length=LENGTH, seed=5, folder=folder,
        validate_first=kind not in ("pretrain", "sampled", "by_row"),
    )  # fmt: skip


Outcome = tuple[dict[str, Tensor], dict[str, Tensor], list[dict[str, Any]]]


def finish(job: Job) -> Outcome:
    """Run a job to its end; return its final weights, its last ones, and its log but for wall time."""
    for _ in fit(job, Stop()):
        pass
    final = {
        f"{name}.{key}": tensor for name, module in job.modules.items() for key, tensor in module.state_dict().items()
    }
    records = Journal(job.folder / "log.jsonl").records()
    log = [{key: value for key, value in record.items() if key not in WALL_TIME} for record in records]
    return final, read_weights(job.folder / LAST), log


def assert_same(left: Outcome, right: Outcome) -> None:
    for mine, theirs in zip(left[:2], right[:2], strict=True):
        assert mine.keys() == theirs.keys()
        differing = [name for name in mine if not torch.equal(mine[name], theirs[name])]
        assert differing == []
    assert left[2] == right[2]


def advance(job: Job, steps: int, stop: Stop | None = None) -> bool:
    """Run a job for some reports of progress and drop it, as a kill would; say whether it had come to its end."""
    progress: Iterator[Any] = fit(job, stop or Stop())
    return any(next(progress, None) is None for _ in range(steps))


class Crash(BaseException):
    """The end of a process, at a place of our choice."""


@contextmanager
def crashing_at(os_module: Any, monkeypatch: Any, nth: int, before: bool) -> Iterator[list[int]]:
    """End the process at its nth renaming of a finished file, just before it or just after."""
    replace, calls = os_module.replace, [0]

    def replacing(source: Any, target: Any) -> None:
        calls[0] += 1
        if calls[0] == nth and before:
            raise Crash
        replace(source, target)
        if calls[0] == nth:
            raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(os_module, "replace", replacing)
        yield calls

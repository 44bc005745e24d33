"""The objective: what is predicted, with its heads, its examples, its loss and its evaluation."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from userrep.build import Component
from userrep.errors import ConfigError
from userrep.evaluation.results import Metrics, Result
from userrep.models.encoder import Encoder
from userrep.sequences.batches import Batch, Cases, Feed
from userrep.sequences.exposure import Exposure
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared, Sequences

ROLES = {"train": 0, "valid": 1, "test": 2}


class Objective(nn.Module, Component):
    """A task that an encoder is trained or transferred for; pre-training and downstream tasks alike.

    `metric` selects the best epoch on validation, unless `chooses` is False, and the last is kept; `maximise` says
    which way is better. `needs_causal` says which encoders it can be learned with: those that read from left to right,
    True, those that read both ways, False, or all.
    `takes` says what its batches are, and so those of which other feeds its loss can be given; None, of none.
    `reads_users` says whether pre-training compares user vectors, which are then read as the protocol says; `least` is
    below no loss. `slice_starts` says of what results are sliced by where its slices begin, the first at its smallest
    value; what is not named there is cut at quantiles.
    """

    takes: ClassVar[type[Batch] | None] = None
    reads_users: bool = False
    chooses: bool = True
    least: float = 0.0
    slice_starts: ClassVar[Mapping[str, Sequence[int]]] = {}
    kind: str = "ranking"
    needs_causal: bool | None = None
    metric: str = "ndcg@10"
    maximise: bool = True

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[str, Tensor] = {}  # what the last loss was the sum of, by name, where it was one

    def setup(self, encoder: Encoder, data: Prepared, protocol: Protocol) -> None:
        """Make the heads for this encoder, this data set and what the protocol reads of it."""
        raise TypeError(f"{type(self).__name__} must make its heads")

    def check_encoder(self, encoder: Encoder) -> None:
        """Raise ConfigError, with a way out, where the encoder reads in a direction that this cannot be learned in."""
        if self.needs_causal in (None, encoder.causal):
            return
        own, model = type(self).__name__, type(encoder).__name__
        if encoder.causal:
            raise ConfigError(
                f"{own} needs an encoder that reads both ways, and a state of {model} never reads a later item",
                "choose objective=next_item or all_action, or an encoder that reads both ways, such as model=bert4rec",
            )
        raise ConfigError(
            f"{own} cannot be learned with {model}: its states read later items, so each would read its own answer",
            "choose cloze, or an encoder that reads from left to right, such as model=nextitnet or model=sasrec",
        )

    def inputs(self, data: Prepared, protocol: Protocol) -> Sequences:
        """Return the events that histories are read from, which the ends of cases index; the source domain's here."""
        return data.sequences(protocol.source)

    def extra_items(self, data: Prepared, protocol: Protocol) -> int:
        """Return by how many items `inputs` exceed the vocabulary of the source domain; none here."""
        return 0

    def slice_values(self, data: Prepared, protocol: Protocol, cases: Cases) -> dict[str, np.ndarray]:
        """Return whole numbers `(N,)` by which results are sliced; the length of the history here."""
        return {"history": cases.ends - self.inputs(data, protocol).offsets[cases.rows]}

    def cases(self, data: Prepared, protocol: Protocol, role: str) -> Cases:
        """Return the evaluation examples of a role: train, valid or test."""
        raise TypeError(f"{type(self).__name__} must name its cases")

    def feed(self, data: Prepared, protocol: Protocol, users: np.ndarray, length: int, batch_size: int) -> Feed:
        """Return the training batches, from the users of mask `users (U,)` only."""
        raise TypeError(f"{type(self).__name__} must make training batches")

    def loss(self, encoder: Encoder, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the mean loss of a batch, a scalar; `generator` draws whatever is random in it but dropout."""
        raise TypeError(f"{type(self).__name__} must state its loss")

    def scores(self, encoder: Encoder, items: Tensor) -> Tensor:
        """Return what is answered for each history alone: `(B, T)` -> `(B, K)` by class or `(B, V)` by item."""
        raise TypeError(f"{type(self).__name__} must score")

    def evaluate(
        self, encoder: Encoder, data: Prepared, protocol: Protocol, role: str, users: np.ndarray | None = None
    ) -> Result:
        """Evaluate on a role, a row for each user or for those of mask `users (U,)`; no batch size changes it."""
        raise TypeError(f"{type(self).__name__} must evaluate")

    def validate(self, encoder: Encoder, data: Prepared, protocol: Protocol, users: np.ndarray) -> Metrics:
        """Return what an epoch is logged with, `metric` among it, from the validation cases of mask `users (U,)`."""
        return self.evaluate(encoder, data, protocol, "valid", users).metrics()

    def exposure(self, data: Prepared, protocol: Protocol, users: np.ndarray) -> Exposure:
        """Return what training on the users of mask `users (U,)` reads, and what validation and test ask for."""
        raise TypeError(f"{type(self).__name__} must say what it reads and asks for")

    def cached(self, feed: Feed, encoder: Encoder, data: Prepared, protocol: Protocol) -> Feed:
        """Return a feed that carries what a frozen encoder computes but once; by default the feed itself."""
        return feed

    def forget(self) -> None:
        """Drop what `cached` kept, since the encoder is about to change; nothing by default."""

    @property
    def divisible(self) -> bool:
        """Whether the loss of a batch is a mean over comparisons that do not hang on each other; not known here."""
        return False

    @property
    def terms(self) -> int | None:
        """Return of how many comparisons the last loss was the mean; None where it is not divisible."""
        return None

    def read_by_row(self, encoder: Encoder) -> list[nn.Parameter]:
        """Return the tables of which the loss reads single rows, never all at once; none where that is not known."""
        return []

    def select(self, cases: Cases, users: np.ndarray | None) -> Cases:
        """Return the cases of the users in a mask, or all."""
        return cases if users is None else cases.take(users[cases.rows])

    @property
    def leader(self) -> "Objective":
        """Return the objective that answers where this one is asked: itself here."""
        return self

    @property
    def splits(self) -> tuple[str, ...]:
        """Name the parts of the protocol whose split this objective is judged by: events, users or both."""
        return ("events",)

    @property
    def task_name(self) -> str:
        """Name the task in run names and tables."""
        raise TypeError(f"{type(self).__name__} must have a name")

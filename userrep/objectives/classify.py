"""Classify: predict one label of a user from the user vector, over all its classes."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from userrep.errors import ConfigError, DataError
from userrep.evaluation.ranking import Csr
from userrep.evaluation.results import ClassificationResult
from userrep.evaluation.tiles import read_histories
from userrep.models.dropout import Dropout
from userrep.models.encoder import Encoder
from userrep.objectives.objective import ROLES, Objective
from userrep.sequences.batches import Batch, Cached, Cases, Feed, Histories
from userrep.sequences.exposure import Exposure, events_between
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared, Sequences


class OverUsers(nn.BatchNorm1d):
    """Standardise each channel over the users of a batch; a batch of one reads the running statistics.

    The first batches are averaged alike, so that a head trained for few updates is served on the scale it learnt on.
    """

    def __init__(self, user_width: int, part_width: int) -> None:
        super().__init__(user_width, affine=False)

    def forward(self, user: Tensor) -> Tensor:
        if not self.training:
            return super().forward(user)
        if len(user) == 1:
            return F.batch_norm(user, self.running_mean, self.running_var, eps=self.eps)
        assert self.num_batches_tracked is not None
        self.momentum = max(0.1, 1 / (1 + int(self.num_batches_tracked)))
        return super().forward(user)


class OverChannels(nn.Module):
    """Standardise each part of a user vector (`mean`, `items`, ...) over its own channels."""

    def __init__(self, user_width: int, part_width: int) -> None:
        super().__init__()
        self.part_width = part_width

    def forward(self, user: Tensor) -> Tensor:
        """Map `(B, P * D)` to the same shape."""
        parts = user.unflatten(-1, (-1, self.part_width))  # (B, P, D)
        return F.layer_norm(parts, (self.part_width,)).flatten(-2)


class Unchanged(nn.Identity):
    """Leave user vectors as they are."""


def log_shares(counts: Tensor) -> Tensor:
    """Return the log share of each class in `counts (K,)`; one that was never met is given half a case."""
    present = counts.double().clamp_min(0.5)
    return (present / present.sum()).log()


UNTIL = ("end", "cut")
STARTS: dict[str, Callable[[Tensor], Tensor]] = {"shares": log_shares, "uniform": torch.zeros_like}
NORMS: dict[str, type[nn.Module]] = {"batch": OverUsers, "layer": OverChannels, "none": Unchanged}


class Classify(Objective):
    """Cross-entropy over all classes of `label` on a linear head: PeterRec's profile tasks, honestly (spec 9, A1).

    norm            batch: standardise each channel over users (running statistics when serving); layer: each part of
                    the user vector over its channels; none. Readouts of unlike scale then train alike
    start           what the untrained head says of everyone: shares, those of the classes among the training cases, the
                    best constant guess; uniform, all alike
    until           what of a history is read, by every role: end, all of it; cut, what lies before the first cut of
                    `protocol.events`, so that nothing is read that another task of a chain asks for
    label_fraction  share of the training and validation users that keep their label; draws are nested and stratified
    label_draw      seed of that draw
    """

    kind = "classification"
    metric = "log_loss"

    def __init__(
        self,
        label: str,
        metric: str = metric,
        norm: str = "batch",
        dropout: float = 0.0,
        label_fraction: float = 1.0,
        label_draw: int = 0,
        start: str = "shares",
        until: str = "end",
    ) -> None:
        super().__init__()
        if until not in UNTIL:
            raise ConfigError(f"task.until is '{until}'", f"choose from {', '.join(UNTIL)}")
        if start not in STARTS:
            raise ConfigError(f"task.start is '{start}'", f"choose from {', '.join(STARTS)}")
        if not 0 < label_fraction <= 1:
            raise ConfigError(f"task.label_fraction is {label_fraction}", "give a fraction in (0, 1]")
        if norm not in NORMS:
            raise ConfigError(f"task.norm is '{norm}'", f"choose from {', '.join(NORMS)}")
        self.label, self.metric, self.maximise = label, metric, metric != "log_loss"
        self.norm, self.dropout, self.until = norm, Dropout(dropout), until
        self.label_fraction, self.label_draw, self.start = label_fraction, label_draw, STARTS[start]
        self.head: nn.Linear | None = None
        self.asked = 0  # users of the last loss
        self.standardise: nn.Module = nn.Identity()
        self.keeping = False  # the encoder is frozen: user vectors are computed once
        self.frozen: dict[tuple[str, bytes | None], Tensor] = {}  # by role and mask of users

    @property
    def task_name(self) -> str:
        return self.label

    @property
    def splits(self) -> tuple[str, ...]:
        return ("users",) if self.until == "end" else ("events", "users")

    def setup(self, encoder: Encoder, data: Prepared, protocol: Protocol) -> None:
        classes = data.classes(self.label)
        if len(classes) < 2:
            raise DataError(f"label '{self.label}' has one class: {classes}", "choose a label with two classes or more")
        self.head = nn.Linear(encoder.user_width, len(classes))
        self.standardise = NORMS[self.norm](encoder.user_width, encoder.width)
        nn.init.zeros_(self.head.weight)  # starts as one guess for all, whatever the scale of the user vector
        targets = self.cases(data, protocol, "train").targets
        with torch.no_grad():
            self.head.bias.copy_(self.start(torch.from_numpy(np.bincount(targets, minlength=len(classes)))))

    def cases(self, data: Prepared, protocol: Protocol, role: str) -> Cases:
        """Return the labelled users of a role, each with the history that may be read."""
        labels, split = data.labels(self.label), data.split(protocol.users, protocol.fold)
        rows = np.flatnonzero((labels >= 0) & (split.user_role == ROLES[role]))
        if role != "test" and self.label_fraction < 1:
            rows = nested_sample(rows, labels[rows], self.label_fraction, self.label_draw)
        return Cases(rows, self.ends(data, protocol)[rows], labels[rows])

    def ends(self, data: Prepared, protocol: Protocol) -> np.ndarray:
        """Return the absolute end of what is read of each user's history: `(U,)`."""
        offsets = self.inputs(data, protocol).offsets
        if self.until == "end":
            return offsets[1:]
        return offsets[:-1] + data.split(protocol.events, domain=protocol.source).train_end

    def feed(self, data: Prepared, protocol: Protocol, users: np.ndarray, length: int, batch_size: int) -> Histories:
        sequences, cases = self.inputs(data, protocol), self.cases(data, protocol, "train")
        chosen = cases.take(users[cases.rows])
        if len(chosen) == 0:
            raise DataError(f"no training user has a label '{self.label}'", "choose another task or another fold")
        return Histories(sequences.items, sequences.offsets, chosen, length, batch_size)

    def exposure(self, data: Prepared, protocol: Protocol, users: np.ndarray) -> Exposure:
        inputs = self.inputs(data, protocol)
        labelled = {role: self.cases(data, protocol, role).rows for role in ROLES}
        rows = labelled["train"][users[labelled["train"]]]
        ends = self.ends(data, protocol)[rows]
        masks = {role: np.isin(np.arange(data.num_users), found) for role, found in labelled.items()}
        return Exposure(
            inputs=events_between(inputs, np.maximum(inputs.offsets[rows], ends - protocol.history), ends),
            taught=masks.pop("train") & users, examined=masks,
        )  # fmt: skip

    def loss(self, encoder: Encoder, batch: Batch, generator: torch.Generator) -> Tensor:
        user = encoder.user(batch.items) if batch.user is None else batch.user
        self.asked = len(batch.targets)
        return F.cross_entropy(self.logits(user), batch.targets)

    def cached(self, feed: Feed, encoder: Encoder, data: Prepared, protocol: Protocol) -> Feed:
        """Compute the training users' vectors once; those of validation follow at the first evaluation."""
        assert isinstance(feed, Histories)
        self.keeping = True
        with torch.no_grad():
            return Cached(feed, encode_users(encoder, self.inputs(data, protocol), feed.cases, feed.length))

    @property
    def divisible(self) -> bool:
        return self.norm != "batch"

    @property
    def terms(self) -> int | None:
        return self.asked if self.divisible else None

    def read_by_row(self, encoder: Encoder) -> list[nn.Parameter]:
        return encoder.stem.tables()

    def forget(self) -> None:
        self.keeping, self.frozen = False, {}

    def logits(self, user: Tensor) -> Tensor:
        """Score all classes: user vectors `(B, P * D)` -> `(B, K)`."""
        assert self.head is not None
        return self.head(self.dropout(self.standardise(user)))

    def scores(self, encoder: Encoder, items: Tensor) -> Tensor:
        return self.logits(encoder.user(items))

    def evaluate(
        self, encoder: Encoder, data: Prepared, protocol: Protocol, role: str, users: np.ndarray | None = None
    ) -> ClassificationResult:
        cases = self.select(self.cases(data, protocol, role), users)
        asked = role, None if users is None else users.tobytes()
        with torch.inference_mode():
            if asked not in self.frozen:
                vectors = encode_users(encoder, self.inputs(data, protocol), cases, protocol.history)
                self.frozen |= {asked: vectors} if self.keeping else {}
            else:
                vectors = self.frozen[asked]
            probabilities = torch.softmax(self.logits(vectors).double(), dim=-1).cpu().numpy()
        return ClassificationResult(cases.rows, cases.targets, probabilities, tuple(data.classes(self.label)))


def encode_users(encoder: Encoder, sequences: Sequences, cases: Cases, length: int) -> Tensor:
    """Encode the users of `cases` in fixed tiles: `(N, user_width)`."""
    before = Csr(sequences.items, sequences.offsets[cases.rows], cases.ends)
    return read_histories(encoder.user, before, length, encoder.device)


def nested_sample(rows: np.ndarray, labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Keep a `fraction` of each class, at least one user; a smaller fraction's users are among a larger one's."""
    order = np.random.default_rng(seed).permutation(len(rows))
    rank = np.empty(len(rows), dtype=np.int64)
    for code in np.unique(labels):
        members = order[labels[order] == code]
        rank[members] = np.arange(len(members))
    keep = np.maximum(1, np.round(fraction * np.bincount(labels)))[labels]
    return np.sort(rows[rank < keep])

"""Siamese: what objectives share that compare two views of a user."""

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from userrep.errors import ConfigError, DataError
from userrep.evaluation.ranking import Csr, DotScorer
from userrep.evaluation.results import Metrics, RankingResult
from userrep.evaluation.tiles import read_histories
from userrep.models.dropout import Dropout
from userrep.models.encoder import Encoder
from userrep.objectives.cloze import Spans
from userrep.objectives.collapse import Watch
from userrep.objectives.geometry import geometry, hiding
from userrep.objectives.guard import Guard
from userrep.objectives.objective import Objective
from userrep.objectives.projection import projector
from userrep.sequences.batches import Batch, Cases, Feed, Histories, InCompany
from userrep.sequences.exposure import Exposure, events_between
from userrep.sequences.protocol import Protocol, seen_users
from userrep.sequences.store import Prepared
from userrep.sequences.views import Views
from userrep.sequences.vocab import RESERVED

CUTS = ("newest", "all")
JUDGED = 1000  # users, as usual: another number is another question
SEED = 0  # of who is judged, and by which views


class Siamese(Objective):
    """Learn user vectors by comparing two views of each user's history, each read by itself.

    crop, permute, mask   shares of the explicit views, 0 for none: see `Views`
    projected             width of the projected vectors; four times the user vector's where None
    cut                   newest: an example is a user, the newest `length` training events; all: an epoch cuts all
                          training events into such windows, and a user with two events or more has some
    variance, covariance  weights of the guard against collapse: see `Guard`
    on_collapse           warn or stop: see `Watch`
    judged                so many users are watched, and look for their own other half in `evaluate`

    An epoch is told of with no label: the newer half of a user's events is looked for by the older, by the cosine of
    their vectors, among the newer halves of `judged` users. That is near chance for long, so the last epoch is kept.
    """

    takes = Batch
    reads_users = True
    chooses = False  # no number that needs no label says which epoch is best
    least = -1.0

    def __init__(
        self,
        crop: float = 0.0,
        permute: float = 0.0,
        mask: float = 0.0,
        projected: int | None = None,
        cut: str = "newest",
        variance: float = 0.0,
        covariance: float = 0.0,
        on_collapse: str = "warn",
        judged: int = JUDGED,
    ) -> None:
        super().__init__()
        if cut not in CUTS:
            raise ConfigError(f"cut is '{cut}'", f"choose from {', '.join(CUTS)}")
        if judged < 2:
            raise ConfigError(f"judged is {judged}", "give a number of users, 2 or more")
        if projected is not None and projected < 1:
            raise ConfigError(f"projected is {projected}", "give a width of 1 or more, or null")
        for name, weight in (("variance", variance), ("covariance", covariance)):
            if not 0 <= weight < float("inf"):
                raise ConfigError(f"{name} is {weight}", "give a weight of 0 or more")
        self.views, self.projected, self.cut, self.judged = Views(crop, permute, mask), projected, cut, judged
        self.guard, self.watch = Guard(variance, covariance), Watch(on_collapse)

    @property
    def task_name(self) -> str:
        return "same_user" if self.judged == JUDGED else f"same_user,judged={self.judged}"

    def setup(self, encoder: Encoder, data: Prepared, protocol: Protocol) -> None:
        self.check_encoder(encoder)
        self.compared = self.projected or 4 * encoder.user_width
        self.projector = projector(encoder.user_width, self.compared)

    def check_encoder(self, encoder: Encoder) -> None:
        super().check_encoder(encoder)
        if not self.views.explicit and not has_dropout(encoder):
            raise ConfigError(
                "two views of a user would be equal: the encoder has no dropout, and no explicit view is set",
                "set model.dropout=0.3, or one of objective.mask, objective.crop, objective.permute",
            )

    @abstractmethod
    def compare(self, left: Tensor, right: Tensor, rows: Tensor) -> Tensor:
        """Return the mean loss of two views `(B, D)`, projected, of the users `rows (B,)`; a row may come twice."""

    def loss(self, encoder: Encoder, batch: Batch, generator: torch.Generator) -> Tensor:
        """Compare two views; a user alone has nobody to be told from, and adds 0.

        Each view goes through encoder and projector by itself, so that batch norms know one view at a time.
        """
        left, right = (encoder.user(self.views.draw(batch.items, generator)) for _ in range(2))  # (B, P * D)
        if len(batch.items) < 2:
            return 0 * (left.sum() + right.sum())
        with torch.autocast(batch.items.device.type, enabled=False):
            left, right = left.float(), right.float()
            loss = self.compare(self.projector(left), self.projector(right), batch.rows)
            if not self.guard.on:
                return loss
            guarded = (self.guard(left) + self.guard(right)) / 2
        self.told = {"views": loss.detach(), "guard": guarded.detach()}
        return loss + guarded

    def ends(self, data: Prepared, protocol: Protocol, role: str = "train") -> np.ndarray:
        """Return where that ends which is read of each user's events `(U,)`: for test it is all of them."""
        offsets = self.inputs(data, protocol).offsets
        if role == "test":
            return offsets[1:]
        return offsets[:-1] + data.split(protocol.events, domain=protocol.source).train_end

    def feed(self, data: Prepared, protocol: Protocol, users: np.ndarray, length: int, batch_size: int) -> Feed:
        if batch_size < 2:
            raise ConfigError(f"trainer.batch_size is {batch_size}", "give 2 or more: users are told from each other")
        inputs, rows = self.inputs(data, protocol), np.flatnonzero(users)
        begins, ends = inputs.offsets[rows], self.ends(data, protocol)[rows]
        told = ends > begins
        if np.count_nonzero(told) < 2:
            raise DataError(f"{data.name} has fewer than two users with training events", "prepare more of the data")
        rows, begins, ends = rows[told], begins[told], ends[told]
        if self.cut == "all":
            return InCompany(Spans(inputs.items, begins, ends, rows, length, batch_size))
        cases = Cases(rows, ends, np.zeros(len(rows), dtype=np.int64))
        return InCompany(Histories(inputs.items, inputs.offsets, cases, length, batch_size))

    def exposure(self, data: Prepared, protocol: Protocol, users: np.ndarray) -> Exposure:
        inputs, rows = self.inputs(data, protocol), np.flatnonzero(users)
        return Exposure(inputs=events_between(inputs, inputs.offsets[rows], self.ends(data, protocol)[rows]))

    def cases(self, data: Prepared, protocol: Protocol, role: str) -> Cases:
        """Return at most `judged` users with two events or more, the same ones for all seeds; targets number them.

        For the test they are drawn from all users, else from those that may be trained on.
        """
        inputs, ends = self.inputs(data, protocol), self.ends(data, protocol, role)
        enough = ends - inputs.offsets[:-1] >= 2
        rows = np.flatnonzero(enough if role == "test" else enough & seen_users(data, protocol))
        rows = np.sort(np.random.default_rng(SEED).permutation(rows)[: self.judged])
        return Cases(rows, ends[rows], RESERVED + np.arange(len(rows)))

    def evaluate(
        self, encoder: Encoder, data: Prepared, protocol: Protocol, role: str, users: np.ndarray | None = None
    ) -> RankingResult:
        every = self.cases(data, protocol, role)
        cases = self.select(every, users)
        begins = self.inputs(data, protocol).offsets[:-1]
        with torch.inference_mode():
            newer = self._encode(encoder, data, protocol, _middle(begins, every), every.ends)  # (C, P * D)
            older = self._encode(encoder, data, protocol, begins[cases.rows], _middle(begins, cases))  # (N, P * D)
            candidates = pad(newer, (0, 0, RESERVED, 0))  # no user has a reserved number
        scorer = DotScorer(older, candidates)
        return RankingResult.rank(cases.rows, cases.targets, scorer, None, len(candidates))

    def validate(self, encoder: Encoder, data: Prepared, protocol: Protocol, users: np.ndarray) -> Metrics:
        """Return the metrics of `evaluate` and the geometry of the same users, on which the watch keeps an eye.

        They are all users of `cases`, whatever the mask: another objective may ask few of its own.
        """
        cases = self.cases(data, protocol, "valid")
        found = self.geometry(encoder, data, protocol, cases)
        return self.evaluate(encoder, data, protocol, "valid").metrics() | self.watch.keep(
            found, self.compared, len(cases)
        )

    def geometry(self, encoder: Encoder, data: Prepared, protocol: Protocol, cases: Cases) -> Metrics:
        """Measure how the users of `cases` lie.

        Views are drawn from a seed of their own, so that epochs differ by the weights alone and training is not moved.
        """
        inputs, device = self.inputs(data, protocol), encoder.device
        draws = torch.Generator().manual_seed(SEED)
        events = Csr(inputs.items, inputs.offsets[cases.rows], cases.ends)

        def project(items: Tensor) -> Tensor:
            return self.projector(encoder.user(self.views.draw(items, draws)).float())

        with torch.inference_mode():
            users = read_histories(encoder.user, events, protocol.history, device)
            with hiding(encoder, SEED):
                left, right = (read_histories(project, events, protocol.history, device) for _ in range(2))
        return geometry(users, left, right)

    def scores(self, encoder: Encoder, items: Tensor) -> Tensor:
        """Return the user vectors `(B, P * D)`: what is answered for a history alone is where it lies."""
        return encoder.user(items)

    def _encode(
        self, encoder: Encoder, data: Prepared, protocol: Protocol, starts: np.ndarray, ends: np.ndarray
    ) -> Tensor:
        """Encode the events `[starts, ends)` of each row and give the vectors length one: `(N, P * D)`."""
        events, device = Csr(self.inputs(data, protocol).items, starts, ends), encoder.device
        return normalize(read_histories(encoder.user, events, protocol.history, device), dim=-1)


def has_dropout(encoder: Encoder) -> bool:
    """Say whether two passes of one history through the encoder differ in training."""
    return any(module.dropped_levels > 0 for module in encoder.modules() if isinstance(module, Dropout))


def _middle(begins: np.ndarray, cases: Cases) -> np.ndarray:
    """Return where the newer half of each case's events begins; of an odd number it has one more."""
    return (begins[cases.rows] + cases.ends) // 2

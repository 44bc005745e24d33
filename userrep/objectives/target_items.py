"""Target items: what tasks share that rank the items of a table of their own for users divided into roles."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from userrep import console
from userrep.errors import ConfigError, DataError
from userrep.evaluation.ranking import Csr
from userrep.models.dropout import Dropout
from userrep.models.encoder import Encoder
from userrep.models.stem import truncated_normal_
from userrep.objectives.classify import NORMS, STARTS, encode_users, nested_sample
from userrep.objectives.item_loss import GBCE_T, item_loss
from userrep.objectives.objective import ROLES
from userrep.objectives.ranking import Ranking
from userrep.objectives.samplers import RHO
from userrep.sequences.batches import Batch, Cached, Cases, Feed, Histories
from userrep.sequences.exposure import Exposure, events_at, events_between
from userrep.sequences.protocol import Protocol
from userrep.sequences.split import paper
from userrep.sequences.store import Prepared
from userrep.sequences.vocab import RESERVED

WHICH = ("first", "all")
PAIR_SEED = 0


@dataclass(frozen=True)
class TargetCases(Cases):
    """Cases whose target is an event: `met (N,)` are absolute ends, among the target events, of what came before it."""

    met: np.ndarray

    def take(self, chosen: np.ndarray) -> "TargetCases":
        return TargetCases(self.rows[chosen], self.ends[chosen], self.targets[chosen], self.met[chosen])


class TargetItems(Ranking):
    """Rank items by user vector and a fresh table, the only head, without bias by default (PeterRec, spec 2.3).

    which           first: a user's first target; all: every target, all of a user in one role
    min_history     events that a history must have; targets with fewer are left out, counted and told
    min_rating      only events of this rating or more are targets
    norm, dropout   on the user vector, as in `classify`
    start           what the untrained head ranks by: uniform, a random table; shares, how often each item is a training
                    target: its bias starts there and its table at zero
    loss, ...       the item loss, its negatives drawn by the training targets' counts
    pairs           the published split: every (user, target) falls to train, valid or test, 80/5/15, so that one user
                    may train and test; only for comparison with papers that do so
    label_fraction  share of the training and validation users that keep their targets; draws are nested
    label_draw      seed of that draw
    """

    slice_starts: ClassVar = {"earlier_targets": (0, 1, 3, 6)}  # 0, 1 and 2, 3 to 5, 6 and more
    USUAL: ClassVar[dict[str, Any]] = {"min_history": 1, "pairs": False}  # what needs no mention in a name

    def __init__(
        self,
        which: str = "all",
        min_history: int = 1,
        min_rating: float | None = None,
        norm: str = "none",
        dropout: float = 0.0,
        bias: bool = False,
        loss: str = "full",
        negatives: int = 1024,
        sampler: str = "frequency",
        gbce_t: float = GBCE_T,
        rho: float = RHO,
        table_l2: float = 0.0,
        pairs: bool = False,
        label_fraction: float = 1.0,
        label_draw: int = 0,
        start: str = "uniform",
    ) -> None:
        super().__init__()
        choose("which", which, WHICH)
        choose("start", start, tuple(STARTS))
        if start == "shares" and not bias:
            raise ConfigError("task.start=shares is a start of the item bias, and there is none", "set task.bias=true")
        choose("norm", norm, tuple(NORMS))
        if min_history < 1:
            raise ConfigError(f"task.min_history is {min_history}", "give a number of events of at least 1")
        if not 0 < label_fraction <= 1:
            raise ConfigError(f"task.label_fraction is {label_fraction}", "give a fraction in (0, 1]")
        self.item_loss = item_loss(loss, negatives, sampler, gbce_t=gbce_t, rho=rho, table_l2=table_l2)
        self.item_loss.check_bias(bias)
        self.which, self.min_history, self.min_rating, self.pairs = which, min_history, min_rating, pairs
        self.norm, self.dropout, self.with_bias = norm, Dropout(dropout), bias
        self.label_fraction, self.label_draw, self.start = label_fraction, label_draw, start
        self.table: nn.Parameter | None = None
        self.bias: nn.Parameter | None = None
        self.standardise: nn.Module = nn.Identity()
        self.collected: dict[Any, tuple[TargetCases, np.ndarray]] = {}  # cases and roles of all users, by conditions

    @property
    def splits(self) -> tuple[str, ...]:
        return () if self.pairs else ("users",)

    @property
    def task_name(self) -> str:
        """Name the kind of task, and what of it is not as usual and changes who is asked for what."""
        odd = {name: getattr(self, name) for name, value in self.USUAL.items() if getattr(self, name) != value}
        return ",".join([self.kind_of_task, *(f"{name}={value}" for name, value in odd.items())])

    @property
    def kind_of_task(self) -> str:
        """Name the kind of task."""
        raise TypeError(f"{type(self).__name__} must have a name")

    def collect(self, data: Prepared, protocol: Protocol) -> tuple[TargetCases, str]:
        """Return the cases of all users whatever their role, and a sentence on who was left out, empty for nobody."""
        raise TypeError(f"{type(self).__name__} must find its targets")

    def setup(self, encoder: Encoder, data: Prepared, protocol: Protocol) -> None:
        size = self.targets(data, protocol).vocab_size
        self.item_loss = self.item_loss.settle(size - RESERVED, self.with_bias)
        self.table = nn.Parameter(truncated_normal_(torch.empty(size, encoder.user_width)))
        self.bias = None
        if self.with_bias:
            counts = torch.from_numpy(self.target_counts(data, protocol))
            self.bias = nn.Parameter(STARTS[self.start](counts).float())
            self.table.data *= self.start == "uniform"  # what the bias knows is the start, and no noise
        self.standardise = NORMS[self.norm](encoder.user_width, encoder.width)

    def cases(self, data: Prepared, protocol: Protocol, role: str) -> TargetCases:
        """Return the targets of the users of a role, each with the history before it."""
        found, roles = self._collected(data, protocol)
        chosen = found.take(roles == ROLES[role])
        if role == "test" or self.label_fraction == 1:
            return chosen
        users = self.sampled_from(found, chosen)
        kept = nested_sample(users, np.zeros_like(users), self.label_fraction, self.label_draw)
        return chosen.take(np.isin(chosen.rows, kept))

    def seen(self, data: Prepared, protocol: Protocol, cases: Cases) -> Csr:
        """Return the target items that each case's user has met before the target, which are not offered again."""
        assert isinstance(cases, TargetCases)
        sequences = self.targets(data, protocol)
        return Csr(sequences.items, sequences.offsets[cases.rows], cases.met)

    def slice_values(self, data: Prepared, protocol: Protocol, cases: Cases) -> dict[str, np.ndarray]:
        assert isinstance(cases, TargetCases)
        popularity = self.target_counts(data, protocol)[cases.targets]
        earlier = cases.met - self.targets(data, protocol).offsets[cases.rows]
        return super().slice_values(data, protocol, cases) | {"popularity": popularity, "earlier_targets": earlier}

    def feed(self, data: Prepared, protocol: Protocol, users: np.ndarray, length: int, batch_size: int) -> Histories:
        """Feed whole histories, as long as the protocol has them: `length` is that of windows, and none are cut."""
        sequences, cases = self.inputs(data, protocol), self.cases(data, protocol, "train")
        chosen = cases.take(users[cases.rows])
        if len(chosen) == 0:
            raise DataError(f"no training user has a target of {self.task_name}", "choose another task or another fold")
        if self.item_loss.told:
            console.note(self.item_loss.told)
        self.item_loss.prepare(np.bincount(chosen.targets, minlength=self.targets(data, protocol).vocab_size))
        return Histories(sequences.items, sequences.offsets, chosen, protocol.history, batch_size)

    def exposure(self, data: Prepared, protocol: Protocol, users: np.ndarray) -> Exposure:
        inputs, targets = self.inputs(data, protocol), self.targets(data, protocol)
        cases = {role: self.cases(data, protocol, role) for role in ROLES}
        train = cases.pop("train")
        train = train.take(users[train.rows])
        begins = np.maximum(inputs.offsets[train.rows], train.ends - protocol.history)
        asked = {role: events_at(targets, found.met) for role, found in cases.items()}
        return Exposure(events_at(targets, train.met), events_between(inputs, begins, train.ends), asked)

    def cached(self, feed: Feed, encoder: Encoder, data: Prepared, protocol: Protocol) -> Feed:
        """Compute the training users' vectors once."""
        assert isinstance(feed, Histories)
        with torch.no_grad():
            return Cached(feed, encode_users(encoder, self.inputs(data, protocol), feed.cases, feed.length))

    def loss(self, encoder: Encoder, batch: Batch, generator: torch.Generator) -> Tensor:
        user = encoder.user(batch.items) if batch.user is None else batch.user
        table, bias = self.output(encoder)
        return self.item_loss(self.dropout(self.standardise(user)), table, bias, batch.targets, generator)

    def states_of(self, encoder: Encoder, items: Tensor) -> Tensor:
        return self.standardise(encoder.user(items))

    @property
    def divisible(self) -> bool:
        return self.norm != "batch"

    @property
    def terms(self) -> int | None:
        return self.item_loss.terms if self.divisible else None

    def read_by_row(self, encoder: Encoder) -> list[nn.Parameter]:
        own = [self.table] if self.table is not None and self.item_loss.by_row else []
        return [*encoder.stem.tables(), *own]

    def output(self, encoder: Encoder) -> tuple[Tensor, Tensor | None]:
        assert self.table is not None
        return self.table, self.bias

    def _collected(self, data: Prepared, protocol: Protocol) -> tuple[TargetCases, np.ndarray]:
        """Find all cases once, and tell once who was left out."""
        key = (data.hash, protocol)
        if key not in self.collected:
            found, left_out = self.collect(data, protocol)
            if left_out:
                console.note(left_out)
            if len(found) == 0:
                raise DataError(f"{data.name} has no target for {self.task_name}", "lower task.min_history")
            self.collected = {key: (found, self.roles(data, protocol, found))}
        return self.collected[key]

    def roles(self, data: Prepared, protocol: Protocol, cases: TargetCases) -> np.ndarray:
        """Return the role code of each case of all users: that of its user, or with `pairs` of the pair alone."""
        if not self.pairs:
            return data.split(protocol.users, protocol.fold).user_role[cases.rows]
        nth = np.arange(len(cases)) - np.searchsorted(cases.rows, cases.rows)  # of its user's targets
        pairs = zip(cases.rows.tolist(), nth.tolist(), strict=True)
        return paper([f"{data.user_ids[row]}\t{index}" for row, index in pairs], PAIR_SEED)[0]

    def sampled_from(self, found: TargetCases, of_role: TargetCases) -> np.ndarray:
        """Return the rows of the users of whom `label_fraction` keeps a share, for a role of all that was `found`."""
        return np.unique(of_role.rows)

    def rated_enough(self, ratings: np.ndarray | None, domain: str) -> np.ndarray | bool:
        """Mark the events `(E,)` whose rating makes them targets."""
        if self.min_rating is None:
            return True
        if ratings is None:
            raise DataError(f"{domain} has no ratings", "set task.min_rating=null, or prepare data with ratings")
        return np.asarray(ratings) >= self.min_rating

    def first_of_each(self, owners: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Of the `chosen` events (E,), keep each owner's first where `which` says so."""
        if self.which == "all":
            return chosen
        kept = np.zeros_like(chosen)
        _, first = np.unique(owners[chosen], return_index=True)
        kept[np.flatnonzero(chosen)[first]] = True
        return kept


def choose(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"task.{name} is '{value}'", f"choose from {', '.join(known)}")

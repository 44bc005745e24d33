"""UAF: a policy decides for each user which blocks are fine-tuned (Chen et al., TKDE 2021)."""

import inspect
import math
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from userrep.errors import ConfigError
from userrep.methods.gates import Gates, Hard, Sampled, Soft, Tempered
from userrep.methods.method import Method, Phase
from userrep.methods.policies import POLICIES, Wanted
from userrep.methods.reward import Reward, check_rewarded, critical_loss
from userrep.methods.route_watch import watch_routes
from userrep.methods.routed import Routed, routed
from userrep.methods.surgery import names_of
from userrep.methods.tuned import TUNED, make_tuned
from userrep.models.encoder import Encoder
from userrep.objectives.objective import Objective
from userrep.sequences.batches import Batch

STRATEGIES: dict[str, type[Gates]] = {"hard": Hard, "soft": Soft, "rl": Sampled}
EMBEDDINGS = ("stem", "own")
OFFICIAL = {
    "squash": True, "temperature": 10.0, "temperature_end": 10.0, "samples": True, "embedding": "own",
    "policy_rate": 1.0, "train_stem": True,
}  # fmt: skip


class UAF(Method):
    """Train a second side of each block, the head, and the policy by which a user takes one side or the other.

    strategy         hard: one side, straight through; soft: a share of both; rl: one side, taught by a reward
    policy           conv, gru or mean: over the user's items; global: one choice for all; random: a control
    tune             what the second side is: a copy of the block (paper), a patch in it, or low-rank changes (lora)
    embedding        what the policy reads: the stem's item vectors, or a table of its own that starts as theirs
    temperature      of the relaxed choice, falling to temperature_end over a phase, evenly in the logarithm
    policy_rate      share of trainer.lr at which the policy trains
    warm_epochs      of a first phase in which the policy stays as it was drawn; rl without them starts with five
    budget           wanted share of tuned blocks; `budget_weight` times its squared distance is added to the loss
    usage            of policy=random
    reward           of strategy=rl
    squash           logits pass a sigmoid before they are compared
    samples          evaluate by drawing routes, too
    train_stem       train the item table with the rest; all-frozen is then no longer the base
    ratio            of tune=patch: width / bottleneck
    rank, alpha      of tune=lora
    official         as the published code: squash, temperature 10 throughout, samples, own embedding, train_stem, the
                     policy at the full rate, and for rl draws that carry the task's gradient too
    """

    paper: ClassVar[str] = "Chen et al., TKDE 2021"
    joint: ClassVar[str] = "block"

    def __init__(
        self,
        strategy: str = "hard",
        policy: str = "conv",
        tune: str = "copy",
        embedding: str = "stem",
        temperature: float = 5.0,
        temperature_end: float = 0.5,
        policy_rate: float = 0.1,
        warm_epochs: int | None = None,
        budget: float | None = None,
        budget_weight: float = 1.0,
        usage: float = 0.5,
        reward: Reward | None = None,
        squash: bool = False,
        samples: bool = False,
        train_stem: bool = False,
        ratio: int = 8,
        rank: int = 4,
        alpha: float = 8.0,
        official: bool = False,
        table_rank: int = 0,
        stem_patch: int = 0,
    ) -> None:
        super().__init__(table_rank, stem_patch)
        for name, value, known in (
            ("strategy", strategy, tuple(STRATEGIES)), ("policy", policy, tuple(POLICIES)), ("tune", tune, TUNED),
            ("embedding", embedding, EMBEDDINGS),
        ):  # fmt: skip
            if value not in known:
                raise ConfigError(f"method.{name} is '{value}'", f"choose from {', '.join(known)}")
        for name, number in (("temperature", temperature), ("temperature_end", temperature_end)):
            if not 0 < number < math.inf:
                raise ConfigError(f"method.{name} is {number}", "give a number above 0; towards 0 the choice hardens")
        if ratio < 1 or rank < 1 or not 0 < alpha < math.inf:
            raise ConfigError(
                f"method has ratio={ratio} rank={rank} alpha={alpha}", "give at least 1, and an alpha above 0"
            )
        for name, share in (("budget", budget), ("usage", usage)):
            if share is not None and not 0 <= share <= 1:
                raise ConfigError(f"method.{name} is {share}", "give a share of the blocks in [0, 1]")
        if not 0 < policy_rate < math.inf or not budget_weight >= 0 or (warm_epochs is not None and warm_epochs < 0):
            raise ConfigError(
                f"method has policy_rate={policy_rate} budget_weight={budget_weight} warm_epochs={warm_epochs}",
                "give a rate above 0, and 0 or more of the others",
            )
        taught = strategy != "hard" or squash or samples or official or budget is not None
        if taught and not POLICIES[policy].learns:
            raise ConfigError(
                f"policy={policy} learns nothing and is drawn at its usage, on one side or the other",
                "leave strategy=hard, and budget, squash, samples and official out",
            )
        self.strategy, self.policy, self.tune, self.embedding = strategy, policy, tune, embedding
        self.temperature, self.temperature_end = temperature, temperature_end
        self.policy_rate, self.budget, self.budget_weight, self.usage = policy_rate, budget, budget_weight, usage
        self.warm_epochs = warm_epochs if warm_epochs is not None else 5 * (strategy == "rl")
        self.reward = reward or Reward()
        self.squash, self.samples, self.train_stem = squash, samples, train_stem
        self.ratio, self.rank, self.alpha, self.official = ratio, rank, alpha, official
        if official:
            self._restore_official()

    def _restore_official(self) -> None:
        """Take the published code's settings; ConfigError for one that was given and is another."""
        defaults = {name: parameter.default for name, parameter in inspect.signature(UAF).parameters.items()}
        for name, value in OFFICIAL.items():
            if getattr(self, name) not in (defaults[name], value):
                raise ConfigError(
                    f"method.official=true has {name}={value}, and {getattr(self, name)} was given", f"leave {name} out"
                )
        vars(self).update(OFFICIAL)

    def insert(self, encoder: Encoder) -> None:
        count = len(encoder.blocks)
        if count == 0:
            raise ConfigError(f"{type(encoder).__name__} has no blocks to choose between", "choose a model with blocks")
        tuned = make_tuned(self.tune, encoder, self.ratio, self.rank, self.alpha)
        own = encoder.item_vectors() * encoder.stem.scale if self.embedding == "own" else None
        policy = POLICIES[self.policy].make(Wanted(encoder.width, count, self.usage, own))
        encoder.loop = Routed(count, tuned, policy, self._gates(self._kind))

    def phases(self, encoder: Encoder) -> list[Phase]:
        policy = tuple(names_of(encoder, [_loop(encoder).policy]))
        tuned = (*self.trainable(encoder), *self.additions(encoder))
        loss = self._loss if self.strategy == "rl" or self.budget is not None else None
        slower = tuple((name, self.policy_rate) for name in policy)
        train = Phase("train", (*tuned, *policy), loss=loss, pace=self._cool, slower=slower, watch=watch_routes)
        if self.warm_epochs == 0:
            return [train]
        if self._kind is not Tempered:
            return [Phase("warm", tuned, epochs=self.warm_epochs, watch=watch_routes), train]
        warm = Phase(
            "warm", (*tuned, *policy), begin=self._draw_once, epochs=self.warm_epochs, slower=slower, watch=watch_routes
        )
        return [warm, replace(train, begin=self._draw_twice)]

    def check(self, encoder: Encoder, phases: list[Phase], objective: Objective) -> None:
        if self.strategy == "rl":
            check_rewarded(objective)

    def trainable(self, encoder: Encoder) -> tuple[str, ...]:
        stem = names_of(encoder, [encoder.stem]) if self.train_stem else ()
        return (*names_of(encoder, _loop(encoder).tuned.trained()), *stem)

    @property
    def _kind(self) -> type[Gates]:
        return Tempered if self.official and self.strategy == "rl" else STRATEGIES[self.strategy]

    def _gates(self, kind: type[Gates]) -> Gates:
        return kind(self.temperature, self.squash, self.samples)

    def _draw_once(self, encoder: Encoder) -> None:
        """Draw as without a reward, as the published code does in its first epochs."""
        _loop(encoder).gates = self._gates(Hard)

    def _draw_twice(self, encoder: Encoder) -> None:
        _loop(encoder).gates = self._gates(Tempered)

    def _cool(self, encoder: Encoder, done: float) -> None:
        """Set the temperature for the share of the phase that is done."""
        _loop(encoder).gates.temperature = self.temperature ** (1 - done) * self.temperature_end**done

    def _loss(self, encoder: Encoder, objective: Objective, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the task's loss with what the budget and the reward add."""
        loop = _loop(encoder)
        loss = objective.loss(encoder, batch, generator)
        decision = loop.taught()
        if self.budget is not None:
            loss = loss + self.budget_weight * (loop.usage(decision) - self.budget).square()
        if self.strategy == "rl":
            loss = loss + critical_loss(encoder, loop, decision, objective, batch, self.reward, generator)
        return loss


def _loop(encoder: Encoder) -> Routed:
    loop = routed(encoder)
    assert loop is not None
    return loop

"""The reward of a route, and the loss by which it teaches a policy: self-critical REINFORCE (UAF, TKDE 2021)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from userrep.build import Component
from userrep.errors import ConfigError
from userrep.methods.routed import Decision, Routed
from userrep.models.encoder import Encoder
from userrep.objectives.objective import Objective
from userrep.objectives.ranking import Ranking
from userrep.sequences.batches import Batch, Following
from userrep.sequences.vocab import RESERVED

PREFERS = ("tuned", "frozen")


class Reward(Component):
    """`1 - gamma (1 - s)^2` where the answer is among the best `top` of it and `negatives` others, else `-gamma`.

    `s` is the share of blocks that the user passes by the side that is preferred: tuned in the published code, by which
    a hit earns more the more is tuned; frozen in SkipRec, its ancestor, which wants to save computing.
    """

    def __init__(self, gamma: float = 1.0, top: int = 5, negatives: int = 99, prefers: str = "tuned") -> None:
        if not gamma >= 0 or not 1 <= top <= negatives:
            raise ConfigError(
                f"method.reward has gamma={gamma} top={top} negatives={negatives}",
                "give gamma >= 0 and 1 <= top <= negatives",
            )
        if prefers not in PREFERS:
            raise ConfigError(f"method.reward.prefers is '{prefers}'", f"choose from {', '.join(PREFERS)}")
        self.gamma, self.top, self.negatives, self.prefers = gamma, top, negatives, prefers

    def of(self, hit: Tensor, route: Tensor) -> Tensor:
        """Return the reward `(B,)` of hits `(B,)` by routes `(B, A)`."""
        share = route.mean(-1)
        missing = 1 - share if self.prefers == "tuned" else share
        return torch.where(hit, 1 - self.gamma * missing.square(), -self.gamma)


def check_rewarded(objective: Objective) -> None:
    """Raise ConfigError for a task with no reward: one that does not rank one answer for each user."""
    if not isinstance(objective, Ranking) or objective.takes is Following:
        raise ConfigError(
            f"strategy=rl rewards a hit among ranked items, and {objective.task_name} ranks none for a user as a whole",
            "choose method.strategy=hard or soft, or a task such as cold_first or cold_k",
        )


def critical_loss(
    encoder: Encoder, loop: Routed, decision: Decision, objective: Objective, batch: Batch, reward: Reward,
    generator: torch.Generator,
) -> Tensor:  # fmt: skip
    """Return the mean of `-(R(drawn) - R(baseline)) log P(drawn)`, whose gradient reaches the policy alone.

    Both routes are served as in evaluation, against the same negatives; `decision` is that of the training step.
    """
    assert isinstance(objective, Ranking)
    logits, drawn = decision.logits.squeeze(1), decision.route.detach().squeeze(1)  # (B, A, 2), (B, A)
    margin = loop.gates.margin(logits)
    baseline = loop.gates.baseline(logits.detach()).to(drawn)
    with torch.no_grad(), serving(encoder, objective):
        table, bias = objective.output(encoder)
        candidates = _candidates(batch.targets, reward.negatives, len(table), generator)
        vectors, biases = table[candidates], 0.0 if bias is None else bias[candidates]
        rewards = []
        for route in (drawn, baseline):
            with loop.given(route):
                states = objective.states_of(encoder, batch.items)
            scores = torch.einsum("bd,bnd->bn", states, vectors) + biases
            ahead = (scores[:, 1:] >= scores[:, :1]).sum(1)  # a tie is lost
            rewards.append(reward.of(ahead < reward.top, route))
    chance = torch.where(drawn > 0.5, F.logsigmoid(margin), F.logsigmoid(-margin)).sum(-1)
    return -((rewards[0] - rewards[1]) * chance).mean()


@contextmanager
def serving(encoder: Encoder, objective: Objective) -> Iterator[None]:
    """Evaluate in the middle of training: no dropout, running statistics."""
    encoder.eval()
    objective.eval()
    try:
        yield
    finally:
        encoder.train()
        objective.train()


def _candidates(targets: Tensor, negatives: int, size: int, generator: torch.Generator) -> Tensor:
    """Return each answer and uniform draws of other items, `(B, 1 + N)`."""
    shape = (len(targets), negatives)
    drawn = torch.randint(RESERVED, size - 1, shape, generator=generator).to(targets.device)
    others = drawn + (drawn >= targets.unsqueeze(1))  # skips the answer, so that every other item is as likely
    return torch.cat([targets.unsqueeze(1), others], dim=1)

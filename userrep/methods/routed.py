"""The routed loop: each user passes each block by its frozen or by its tuned side (UAF, TKDE 2021)."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from userrep.errors import ConfigError
from userrep.methods.gates import Gates
from userrep.methods.policies import Policy
from userrep.methods.tuned import Tuned
from userrep.models.encoder import Encoder
from userrep.models.loop import Loop
from userrep.models.packing import packing_of, select


@dataclass(frozen=True)
class Decision:
    """What was decided last: `logits (B, 1|T, A, 2)` and the `route (B, 1|T, A)` made of them.

    `keep (B, T, 1)` is 0 where a step of its own is padding.
    """

    logits: Tensor
    route: Tensor
    keep: Tensor


class Routed(Loop):
    """Mix the sides of each block as a policy decides: `h = frozen(h) + share * (tuned(h) - frozen(h))`.

    Written so, equal sides give the frozen side's bits whatever the share, and shares of 0 and 1 give a side's own.
    In serving, firm shares run each side on its own users only, and nothing that is not taken is computed; `grouped`
    false computes both sides and picks, the same to rounding.
    """

    routes: ClassVar[bool] = True

    def __init__(self, count: int, tuned: Tuned, policy: Policy, gates: Gates) -> None:
        super().__init__()
        self.count, self.tuned, self.policy, self.gates = count, tuned, policy, gates
        self.grouped = True
        self.last: Decision | None = None  # of training
        self._given: Tensor | None = None

    def decide(self, items: Tensor, stem: Tensor, keep: Tensor, each: bool) -> Tensor:
        if self._given is not None:
            return self._for_all(self._given, len(items)).to(stem)
        logits = self.policy(items, stem, keep, each)
        route = self.gates.shares(logits, self.training)
        self.last = Decision(logits, route, keep) if self.training else None
        return route.to(stem.dtype)

    def forward(self, blocks: Iterable[nn.Module], states: Tensor, keep: Tensor, route: Tensor | None) -> Tensor:
        assert route is not None
        for index, block in enumerate(blocks):
            states = self._pass(index, block, states, keep, route[..., index, None])
        return states

    def _pass(self, index: int, block: nn.Module, states: Tensor, keep: Tensor, share: Tensor) -> Tensor:
        """Map states `(B, S, D)`, or packed rows of these, by shares `(B, 1|S, 1)`."""
        packing = packing_of(keep)
        own = share if packing is None else packing.pack(share)
        if self.training or not self.gates.firm:
            frozen, tuned = self._both(index, block, states, keep)
            return torch.lerp(frozen, tuned, own.to(frozen.dtype))
        if self.grouped and share.shape[1] == 1:
            return self._grouped(index, block, states, keep, share.flatten() > 0.5)
        taken = own > 0.5
        return torch.where(taken, self.tuned.run(index, block, states, keep), block(states, keep))

    def _both(self, index: int, block: nn.Module, states: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Run both sides with the same dropout, so that the policy is taught by what the sides know, not by chance."""
        if not self.training:
            return block(states, keep), self.tuned.run(index, block, states, keep)
        before = torch.cuda.get_rng_state(states.device) if states.is_cuda else torch.get_rng_state()
        frozen = block(states, keep)
        if states.is_cuda:
            torch.cuda.set_rng_state(before, states.device)
        else:
            torch.set_rng_state(before)
        return frozen, self.tuned.run(index, block, states, keep)

    def _grouped(self, index: int, block: nn.Module, states: Tensor, keep: Tensor, taken: Tensor) -> Tensor:
        """Run each side on its own users; `taken (B,)` are the tuned side's."""
        if taken.all():
            return self.tuned.run(index, block, states, keep)
        if not taken.any():
            return block(states, keep)
        (dim, tuned, tuned_keep), (_, frozen, frozen_keep) = select(taken, keep), select(~taken, keep)
        passed = self.tuned.run(index, block, states.index_select(dim, tuned), tuned_keep)
        left = block(states.index_select(dim, frozen), frozen_keep)
        return torch.empty_like(states).index_copy_(dim, tuned, passed).index_copy_(dim, frozen, left)

    def taught(self) -> Decision:
        """Return what was decided last in training, once: it holds the graph of its step.

        Raises ConfigError where nobody was read through the blocks.
        """
        decision, self.last = self.last, None
        if decision is None:
            raise ConfigError("the loss of this task reads no user through the blocks", "choose another task")
        return decision

    def usage(self, decision: Decision) -> Tensor:
        """Return the mean chance of a tuned side, a scalar; steps of padding do not count."""
        chances = self.gates.chances(decision.logits).mean(-1, keepdim=True)  # (B, 1|T, 1)
        if chances.shape[1] == 1:
            return chances.mean()
        return (chances * decision.keep).sum() / decision.keep.sum().clamp_min(1.0)

    @contextmanager
    def given(self, route: Tensor) -> Iterator[None]:
        """Pass all histories of a batch by a route `(A,)`, or each by its own `(B, A)`, whatever the policy says.

        Raises ConfigError for another shape, or for a share outside [0, 1].
        """
        if route.ndim not in (1, 2) or route.shape[-1] != self.count:
            raise self._misshapen(route)
        if not bool(((route >= 0) & (route <= 1)).all()):
            raise ConfigError("a route has shares outside [0, 1]", "give 0 for the frozen side, 1 for the tuned one")
        before, self._given = self._given, route.reshape(-1, 1, self.count)
        try:
            yield
        finally:
            self._given = before

    def _for_all(self, given: Tensor, users: int) -> Tensor:
        if len(given) not in (1, users):
            raise self._misshapen(given.squeeze(1))
        return given.expand(users, 1, -1)

    def _misshapen(self, route: Tensor) -> ConfigError:
        return ConfigError(
            f"a route of shape {tuple(route.shape)} is no choice for {self.count} blocks and the users of a batch",
            f"give ({self.count},) for all users, or (users, {self.count})",
        )


def routed(encoder: Encoder) -> Routed | None:
    """Return the loop of an encoder whose users choose, None for any other."""
    return encoder.loop if isinstance(encoder.loop, Routed) else None


def read_routes(encoder: Encoder, items: Tensor) -> Tensor:
    """Return what each user takes of each tuned side, then the chance that the policy gives it: `(B, 2 A)`.

    Raises ConfigError for an encoder that chooses nothing.
    """
    loop = routed(encoder)
    if loop is None:
        raise ConfigError("this encoder passes all users through the same blocks", "give a run of --method uaf")
    stem, keep = encoder.stemmed(items)
    logits = loop.policy(items, stem, keep, each=False)
    return torch.cat([loop.gates.shares(logits, False), loop.gates.chances(logits)], dim=-1).squeeze(1)

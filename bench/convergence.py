"""Convergence: the time until a chain of items is learned, by sampled softmax and by the plain full softmax."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bench import plain
from bench.case import Case
from bench.pairs import Work
from bench.training import RATE, Network, our_model, plain_model
from bench.workspace import Data
from userrep.sequences.batches import Batch
from userrep.sequences.protocol import Protocol
from userrep.sequences.vocab import RESERVED
from userrep.training.optim import make_optimizer
from userrep.training.trainer import Trainer

GROUP = "time to equal NDCG@20"
FORK, EVERY, JUDGED = 4, 50, 512  # successors an item; steps between judgements; sequences that judge
DILATIONS = (1, 2)


def cases(data: Data) -> Iterator[Case]:
    """Compare trainings from the same weights on the same batches; each side runs once, since it takes minutes."""
    chain = data.size.chain
    if chain is not None:
        detail = f"{data.size.negatives} sampled against full, to {chain.goal}, B={chain.users} T={chain.length}"
        yield Case(GROUP, data.size.items, detail, partial(_ours, data), partial(_theirs, data), None, once=True)


class Walks:
    """Walks over a fixed graph in which each item has FORK successors, the first the likeliest."""

    def __init__(self, items: int, users: int, length: int) -> None:
        self.rng, self.shape = np.random.default_rng(0), (users, length + 1)
        self.next = np.random.default_rng(1).integers(items, size=(items, FORK))
        self.odds = np.array([0.7, 0.15, 0.1, 0.05])

    def draw(self, users: int | None = None) -> tuple[Tensor, Tensor]:
        """Draw inputs and targets (B, T) of ids."""
        count, steps = users or self.shape[0], self.shape[1]
        walk = np.empty((count, steps), dtype=np.int64)
        walk[:, 0] = self.rng.integers(len(self.next), size=count)
        for step in range(1, steps):
            walk[:, step] = self.next[walk[:, step - 1], self.rng.choice(FORK, size=count, p=self.odds)]
        ids = torch.from_numpy(walk + RESERVED)
        return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


def _ours(data: Data) -> Work:
    chain = data.size.chain
    assert chain is not None
    encoder, objective = our_model(data, "sampled", Network(chain.width, DILATIONS))
    everyone = np.ones(data.prepared.num_users, dtype=bool)
    objective.feed(data.prepared, Protocol(), everyone, chain.length, chain.users)  # counts the events
    optimizer = make_optimizer(encoder, objective, Trainer(lr=RATE), encoder.vocab_size)
    draws = torch.Generator().manual_seed(0)

    def step(items: Tensor, targets: Tensor) -> None:
        value = objective.loss(encoder, Batch(items, targets, torch.arange(len(items))), draws)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()

    def scores(items: Tensor) -> Tensor:
        return encoder(items)[:, -1] @ objective.output(encoder)[0].T

    return lambda: _until(data, step, scores)


def _theirs(data: Data) -> Work:
    chain = data.size.chain
    assert chain is not None
    model = plain_model(data, Network(chain.width, DILATIONS))
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)

    def scores(items: Tensor) -> Tensor:
        return model.final_layer(model.encode(items)[:, -1])

    return lambda: _until(
        data, lambda items, targets: _discard(plain.train_step(model, optimizer, items, targets)), scores
    )


def _discard(loss: float) -> None:
    pass


def _until(data: Data, step: Callable[[Tensor, Tensor], None], scores: Callable[[Tensor], Tensor]) -> float:
    """Train until the goal is met; return the steps taken."""
    chain = data.size.chain
    assert chain is not None
    walks = Walks(data.size.items, chain.users, chain.length)
    judged = Walks(data.size.items, JUDGED, chain.length).draw()
    for taken in range(1, chain.most + 1):
        step(*walks.draw())
        if taken % EVERY == 0 and _ndcg(scores, *judged) >= chain.goal:
            return float(taken)
    raise RuntimeError(f"NDCG@20 {chain.goal} was not reached in {chain.most} steps")


@torch.no_grad()
def _ndcg(scores: Callable[[Tensor], Tensor], items: Tensor, targets: Tensor) -> float:
    found = scores(items)
    found[:, :RESERVED] = -torch.inf
    wanted = targets[:, -1:]
    rank = 1 + (found > found.gather(1, wanted)).sum(dim=1)
    return float(torch.where(rank <= 20, 1 / torch.log2(1 + rank.float()), 0.0).mean())

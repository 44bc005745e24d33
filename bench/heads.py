"""Heads: an epoch of a head on a frozen encoder, after the first, against one of full fine-tuning."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from bench.case import Case
from bench.pairs import Work
from bench.training import DILATIONS, RATE
from bench.workspace import Data
from userrep.methods.surgery import train_only
from userrep.models.nextitnet import NextItNet
from userrep.objectives.classify import Classify
from userrep.sequences.protocol import Protocol
from userrep.training.optim import make_optimizer
from userrep.training.trainer import Trainer

GROUP = "head epoch"
BATCH = 128


def cases(data: Data) -> Iterator[Case]:
    """Compare an epoch over vectors that are kept with one that trains the network below them, on the same users."""
    if data.size.headed:
        detail = f"against full fine-tuning, NextItNet D={data.size.width}, B={BATCH} T={data.size.history}"
        ours, full = partial(_epoch, data, True), partial(_epoch, data, False)
        yield Case(GROUP, data.size.items, detail, ours, full)


def _epoch(data: Data, head_only: bool) -> Work:
    """Set an epoch up as the trainer does: where nothing below the head trains, the feed holds user vectors."""
    torch.manual_seed(0)
    encoder = NextItNet(data.prepared.sequences().vocab_size, data.size.width, DILATIONS)
    objective, protocol = Classify("kind"), Protocol(history=data.size.history)
    objective.setup(encoder, data.prepared, protocol)
    everyone = np.ones(data.prepared.num_users, dtype=bool)
    feed = objective.feed(data.prepared, protocol, everyone, data.size.history, BATCH)
    train_only(encoder, () if head_only else ("*",))
    source = objective.cached(feed, encoder.eval(), data.prepared, protocol) if head_only else feed
    optimizer = make_optimizer(encoder, objective, Trainer(lr=RATE), encoder.vocab_size)
    rng, draws = np.random.default_rng(0), torch.Generator().manual_seed(0)
    encoder.train()

    def work() -> float:
        total = 0.0
        for index in source.order(rng):
            value = objective.loss(encoder, source.batch(index), draws)
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            optimizer.step()
            total += float(value.detach())
        return total

    return work

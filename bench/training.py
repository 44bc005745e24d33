"""Training: one step, forward, loss, backward and update, of one network from the same weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bench import plain
from bench.case import Case, too_large
from bench.pairs import Work
from bench.workspace import Data
from userrep.interop import convert
from userrep.models.encoder import Encoder
from userrep.objectives.next_item import NextItem
from userrep.sequences.batches import Batch
from userrep.sequences.protocol import Protocol
from userrep.sequences.vocab import PAD, RESERVED
from userrep.training.optim import make_optimizer
from userrep.training.tables import choose_rows, marked
from userrep.training.trainer import Trainer

DILATIONS = (1, 4, 1, 4, 1, 4, 1, 4)
RATE = 1e-3


@dataclass(frozen=True)
class Network:
    """The width of a NextItNet and the rates of its blocks."""

    width: int
    dilations: tuple[int, ...] = DILATIONS
    words: str = ""


def cases(data: Data) -> Iterator[Case]:
    """Compare the same loss without padding, with padding, and our sampled loss with the plain full one."""
    size = data.size
    yield _case(data, size.step, padded=False, loss="full", tolerance=1e-4)
    if size.padded:
        yield _case(data, size.padded, padded=True, loss="full", memory=True)
    yield _case(data, size.padded or size.step, padded=bool(size.padded), loss="sampled", memory=True)
    if size.large:
        yield _case(data, size.large, padded=False, loss="full")
    if size.deep:
        deep = Network(
            size.deep.width, size.deep.dilations, f"D={size.deep.width}, {len(size.deep.dilations)} blocks, "
        )
        yield _case(data, size.deep.padded, padded=True, loss="full", memory=True, network=deep)
        yield _case(data, size.deep.full, padded=False, loss="full", tolerance=1e-4, network=deep)
        yield _case(data, size.deep.padded, padded=True, loss="sampled", memory=True, network=deep)


def _case(
    data: Data, shape: tuple[int, int], padded: bool, loss: str, tolerance: float | None = None, memory: bool = False,
    network: Network | None = None,
) -> Case:  # fmt: skip
    users, length = shape
    network = network or Network(data.size.width)
    kind = "same loss" if loss == "full" else f"{data.size.negatives} sampled against full"
    detail = f"{kind}, {network.words}B={users} T={length}{', 45% padding' if padded else ''}"
    refusal = too_large(users * length * data.size.items * 4 * 3)  # logits, their log-softmax, their gradient
    theirs = None if refusal else partial(_their_step, data, shape, padded, network)
    ours = partial(_our_step, data, shape, padded, loss, network)
    return Case("training step", data.size.items, detail, ours, theirs, tolerance, refusal, memory)


def draw_batch(data: Data, shape: tuple[int, int], padded: bool) -> tuple[Tensor, Tensor]:
    """Draw inputs and targets (B, T); with `padded`, lengths are uniform and 45 % of the positions padding."""
    users, length = shape
    rng = np.random.default_rng(0)
    rows = rng.integers(RESERVED, RESERVED + data.size.items, size=(users, length + 1))
    if padded:
        lengths = rng.integers(max(1, length // 10), length + 1, size=users)
        rows[np.arange(length + 1) < (length - lengths)[:, None]] = PAD
    items, targets = rows[:, :-1], np.where(rows[:, :-1] == PAD, PAD, rows[:, 1:])
    return torch.from_numpy(items), torch.from_numpy(targets)


def plain_model(data: Data, network: Network | None = None) -> plain.NextItNet:
    """Make the plain network, with the same weights each time; ids that are no items get no share of its softmax."""
    torch.manual_seed(0)
    network = network or Network(data.size.width)
    model = plain.NextItNet(data.prepared.sequences().vocab_size, network.width, list(network.dilations))
    with torch.no_grad():
        model.final_layer.bias[:RESERVED] = -1e4
    return model


def our_model(data: Data, loss: str = "full", network: Network | None = None) -> tuple[Encoder, NextItem]:
    """Import the plain network, output layer and all; a sampled loss has no bias."""
    network = network or Network(data.size.width)
    state = plain_model(data, network).state_dict()
    converted = convert("tenrec-nextitnet", state, dilations=list(network.dilations))
    encoder = converted.module()
    objective = NextItem(loss=loss, tied=False, bias=loss == "full", negatives=data.size.negatives)
    objective.setup(encoder, data.prepared, Protocol())
    objective.load_state_dict({name: converted.head[name] for name in objective.state_dict()})
    return encoder, objective


def _our_step(data: Data, shape: tuple[int, int], padded: bool, loss: str, network: Network) -> Work:
    encoder, objective = our_model(data, loss, network)
    everyone = np.ones(data.prepared.num_users, dtype=bool)
    objective.feed(data.prepared, Protocol(), everyone, shape[1], shape[0])  # a sampled loss counts the events here
    batch = Batch(*draw_batch(data, shape, padded), torch.arange(shape[0]))
    return steps_on(encoder, objective, batch)


def steps_on(encoder: Encoder, objective: NextItem, batch: Batch) -> Work:
    """Return the work of a training step on one batch; item tables are updated as the trainer would by itself."""
    trainer, draws = Trainer(lr=RATE), torch.Generator().manual_seed(0)
    rows = choose_rows(trainer.tables, objective.read_by_row(encoder), "cpu")
    marked((encoder, objective), rows.tables)
    optimizer = make_optimizer(encoder, objective, trainer, encoder.vocab_size, rows=rows)
    encoder.train()

    def work() -> float:
        value = objective.loss(encoder, batch, draws)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        return float(value.detach())

    return work


def _their_step(data: Data, shape: tuple[int, int], padded: bool, network: Network) -> Work:
    model = plain_model(data, network)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    items, targets = draw_batch(data, shape, padded)
    return lambda: plain.train_step(model, optimizer, items, targets)

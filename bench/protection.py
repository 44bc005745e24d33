"""Protection: a training step of conure against one of the same network with plain weights."""

from collections.abc import Callable, Iterator
from functools import partial

import torch

from bench.case import Case
from bench.pairs import Work
from bench.training import draw_batch, steps_on
from bench.workspace import Data
from userrep.methods.conure import Conure
from userrep.methods.surgery import flatten, train_only
from userrep.models.encoder import Encoder
from userrep.models.nextitnet import NextItNet
from userrep.models.sasrec import SasRec
from userrep.objectives.next_item import NextItem
from userrep.sequences.batches import Batch

GROUP = "conure step"
NETWORKS: dict[str, Callable[[int, int], Encoder]] = {
    "NextItNet": lambda items, width: NextItNet(items, width, [1, 4, 1, 4, 1, 4, 1, 4]),
    "SASRec": lambda items, width: SasRec(items, width, dropout=0.0),
}


def cases(data: Data) -> Iterator[Case]:
    """Compare steps of task 2, while it is open and when it has taken its weights, for each network of the size."""
    for network, width in data.size.protected:
        for mode in ("open", "taken"):
            ours, plain = (partial(_step, data, network, width, mode, flat) for flat in (False, True))
            users, length = data.size.step
            detail = f"{network} D={width}, {mode}, B={users} T={length}"
            yield Case(GROUP, data.size.items, detail, ours, plain, tolerance=1e-4)


def _step(data: Data, network: str, width: int, mode: str, flat: bool) -> Work:
    encoder, objective, shape = _second_task(data, network, width, mode, flat), NextItem(), data.size.step
    batch = Batch(*draw_batch(data, shape, padded=False), torch.arange(shape[0]))
    return steps_on(encoder, objective, batch)


def _second_task(data: Data, network: str, width: int, mode: str, flat: bool) -> Encoder:
    """Make a network that owns task 1 and learns task 2, or the plain one of the same weights: kernels alone train."""
    torch.manual_seed(0)
    encoder = NETWORKS[network](data.prepared.sequences().vocab_size, width)
    for task in (1, 2):
        method = Conure()
        method.adapt(encoder, "last")
        *_, pruned, _ = phases = method.phases(encoder)
        assert pruned.begin is not None
        if task == 1 or mode == "taken":
            pruned.begin(encoder)
        if task == 1:
            method.finish(encoder)
    trained = phases[0].trainable
    if flat:
        flatten(encoder)
        trained = tuple(name.replace("parametrizations.", "").removesuffix(".original") for name in trained)
    train_only(encoder, trained)
    return encoder.train()

"""Train and recommend with this package on exported events, as the peers' scripts do; prints one line of JSON."""

import json
import sys
import tempfile
import time
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from userrep.build import build
from userrep.config import compose
from userrep.evaluation.ranking import Csr, DotScorer
from userrep.evaluation.tiles import read_histories
from userrep.evaluation.topk import top_items
from userrep.methods.method import Phase
from userrep.models.encoder import Encoder
from userrep.models.nextitnet import NextItNet
from userrep.models.sasrec import SasRec
from userrep.objectives.next_item import NextItem
from userrep.sequences.batches import Batch
from userrep.sequences.prepare import prepare
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared
from userrep.signals import Stop
from userrep.training.fit import fit
from userrep.training.job import Job
from userrep.training.trainer import Trainer

WARM = 2  # steps before the clock runs


class Counting(NextItem):
    """Next item, which counts its supervised positions."""

    positions = 0

    def loss(self, encoder: Encoder, batch: Batch, generator: torch.Generator) -> Tensor:
        self.positions += int(batch.targets.ne(0).sum())
        return super().loss(encoder, batch, generator)


def main(folder: str, model: str, settings: str) -> None:
    """Time `steps` updates of the package's own loop, or an epoch where that is 0; then the lists, where asked."""
    shape = json.loads(settings)
    torch.set_num_threads(shape["threads"])
    torch.manual_seed(0)
    store = Path(folder) / "prepared"
    overrides = ["dataset=table", f"dataset.path={folder}/events.csv", "dataset.name=events"]
    if not (store / "meta.json").exists():
        prepare(build(compose("preprocess", overrides)["dataset"]), {"name": "events"}, Path("nowhere"), store)
    data = Prepared(store)
    encoder = _network(model, data.sequences().vocab_size, shape)
    objective = Counting()
    protocol = Protocol(history=shape["length"])
    objective.setup(encoder, data, protocol)
    result = _trained(encoder, objective, data, protocol, shape)
    if not shape["steps"]:
        result |= _recommended(encoder.eval(), objective, data, shape["length"])
    print(json.dumps(result | {"items": data.sequences().vocab_size - 2}))


def _network(model: str, vocab_size: int, shape: dict[str, Any]) -> Encoder:
    if model == "SASRec":
        return SasRec(
            vocab_size, shape["width"], shape["layers"], shape["heads"], shape["hidden"], shape["length"],
            norm_first=bool(shape["norm_first"]),
        )  # fmt: skip
    return NextItNet(vocab_size, shape["width"], shape["dilations"] * shape["repeats"])


def _trained(
    encoder: Encoder, objective: Counting, data: Prepared, protocol: Protocol, shape: dict[str, Any]
) -> dict[str, float]:
    everyone, trainer = np.ones(data.num_users, dtype=bool), Trainer(epochs=1, batch_size=shape["batch"], clip=0.0)
    with tempfile.TemporaryDirectory() as run:
        job = Job(
            encoder, objective, [Phase("train", ("*",))], data, protocol, trainer, everyone, shape["length"], 0,
            Path(run),
        )  # fmt: skip
        steps = fit(job, Stop())
        warm = WARM if shape["steps"] else 0
        list(islice(steps, warm))
        objective.positions = 0
        wall, processor, loss, done = time.perf_counter(), time.process_time(), 0.0, 0
        for progress in steps:
            loss, done = float(progress.loss), done + 1
            if done == (shape["steps"] or progress.total):
                break
        took = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
        steps.close()  # type: ignore[attr-defined]
    return took | {"positions": objective.positions, "loss": loss}


@torch.inference_mode()
def _recommended(encoder: Encoder, objective: NextItem, data: Prepared, length: int) -> dict[str, float]:
    sequences = data.sequences()
    histories = Csr(sequences.items, sequences.offsets[:-1], sequences.offsets[1:])
    wall, processor = time.perf_counter(), time.process_time()
    table, bias = objective.output(encoder)
    states = read_histories(partial(objective.states_of, encoder), histories, length, table.device)
    ids, _ = top_items(DotScorer(states, table, bias), len(states), 10, histories, sequences.vocab_size)
    took = {"recommend_wall": time.perf_counter() - wall, "recommend_processor": time.process_time() - processor}
    return took | {"lists": len(ids)}


if __name__ == "__main__":
    main(*sys.argv[1:])

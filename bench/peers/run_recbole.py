"""Train with RecBole for some batches; run by the interpreter of its environment, prints one line of JSON."""

import json
import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed


class Some:
    """The first batches of a loader, for its trainer to take as an epoch."""

    def __init__(self, loader: Any, most: int) -> None:
        self.loader, self.most, self.samples = loader, most, 0
        self.shuffle = False

    def __len__(self) -> int:
        return self.most

    def __iter__(self) -> Iterator[Any]:
        for interaction in islice(self.loader, self.most):
            self.samples += len(interaction)
            yield interaction


def main(folder: str, model: str, settings: str) -> None:
    """Warm up on two batches, then time `steps` of them through the package's own trainer."""
    shape = json.loads(settings)
    torch.set_num_threads(shape["threads"])
    own = {
        "SASRec": {
            "n_layers": shape["layers"], "n_heads": shape["heads"], "hidden_size": shape["width"],
            "inner_size": shape["hidden"], "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "hidden_act": "relu",
        },
        "NextItNet": {
            "embedding_size": shape["width"], "block_num": shape["repeats"], "dilations": shape["dilations"],
            "kernel_size": 3, "reg_weight": 0.0,
        },
    }[model]  # fmt: skip
    common = {
        "data_path": folder, "USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "TIME_FIELD": "timestamp",
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "MAX_ITEM_LIST_LENGTH": shape["length"],
        "loss_type": "CE", "train_neg_sample_args": None, "train_batch_size": shape["samples"], "learning_rate": 1e-3,
        "use_gpu": False, "show_progress": False, "state": "ERROR", "save_dataset": False, "worker": 0,
    }  # fmt: skip
    sys.argv = sys.argv[:1]  # which RecBole would read
    config = Config(model=model, dataset="events", config_dict=common | own)
    init_seed(0, True)
    dataset = create_dataset(config)
    train, _, _ = data_preparation(config, dataset)
    network = get_model(model)(config, train.dataset)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, network)
    trainer._train_epoch(Some(train, 2), 0)
    batches = Some(train, shape["steps"])
    wall, processor = time.perf_counter(), time.process_time()
    loss = trainer._train_epoch(batches, 1)
    took = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    print(
        json.dumps({**took, "positions": batches.samples, "loss": loss / shape["steps"], "items": dataset.item_num - 1})
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

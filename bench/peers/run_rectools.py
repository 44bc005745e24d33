"""Fit RecTools' SASRec for an epoch and recommend; run by the interpreter of its environment, prints JSON."""

import itertools
import json
import logging
import sys
import time
import warnings

import pandas as pd
import torch
from pytorch_lightning import seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.item_net import IdEmbeddingsItemNet


def main(path: str, model: str, settings: str) -> None:
    """Time an epoch from `fit` to its end, then the ten best of every user without those it has met."""
    shape = json.loads(settings)
    torch.set_num_threads(shape["threads"])
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    seed_everything(0)
    events = pd.read_csv(path + "/events.csv").rename(
        columns={"user": Columns.User, "item": Columns.Item, "time": Columns.Datetime}
    )
    events[Columns.Weight] = 1
    events[Columns.Datetime] = pd.to_datetime(events[Columns.Datetime], unit="s")
    dataset = Dataset.construct(events)
    sasrec = SASRecModel(
        n_blocks=shape["layers"], n_heads=shape["heads"], n_factors=shape["width"], dropout_rate=0.0,
        session_max_len=shape["length"], loss="softmax", lr=1e-3, batch_size=shape["batch"], epochs=1,
        use_key_padding_mask=False, item_net_block_types=(IdEmbeddingsItemNet,),
    )  # fmt: skip
    users = events[Columns.User].unique()
    clocks = [(time.perf_counter(), time.process_time())]
    sasrec.fit(dataset)
    clocks.append((time.perf_counter(), time.process_time()))
    lists = sasrec.recommend(users, dataset, k=10, filter_viewed=True)
    clocks.append((time.perf_counter(), time.process_time()))
    (wall, processor), (read_wall, read_processor) = (
        [later - sooner for later, sooner in zip(after, before, strict=True)]
        for before, after in itertools.pairwise(clocks)
    )
    counts = events.groupby(Columns.User).size().clip(upper=shape["length"] + 1) - 1
    print(
        json.dumps({
            "wall": wall, "processor": processor, "positions": int(counts.sum()), "lists": len(lists) // 10,
            "recommend_wall": read_wall, "recommend_processor": read_processor,
            "items": int(events[Columns.Item].nunique()),
        })
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])

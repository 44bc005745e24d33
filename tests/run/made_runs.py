"""Small finished runs, and what a folder holds."""

import os
from pathlib import Path
from typing import Any

from userrep.run import Run, open_run, writing

CONFIG: dict[str, Any] = {
    "seed": 3,
    "dataset": {"_target_": "userrep.datasets.x.X", "name": "toy"},
    "model": {"width": 64},
    "choices": {"dataset": "toy", "model": "nextitnet"},
}


def make(
    path: Path,
    *,
    verb: str = "pretrain",
    config: dict[str, Any] = CONFIG,
    parent: Run | None = None,
    weights: bytes = b"w",
) -> Run:
    with writing(path, verb=verb, config=config, parent=parent) as session:
        (path / ("delta.safetensors" if parent else "model.safetensors")).write_bytes(weights)
        session.finish(metrics={"ndcg@10": 0.1})
    return open_run(path)


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))

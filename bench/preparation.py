"""Preparation: a csv of events becomes sequences of item ids on disk."""

import shutil
from collections.abc import Iterator

import numpy as np

from bench import plain
from bench.case import Case
from bench.pairs import Work
from bench.workspace import NOWHERE, Data
from userrep.sequences.build import assemble
from userrep.sequences.prepare import prepare
from userrep.sequences.write import arrays


def cases(data: Data) -> Iterator[Case]:
    """Compare the like work, then all of `userrep preprocess` with the same plain script."""

    def pandas() -> Work:
        return lambda: sum(map(len, plain.prepare(data.csv, data.folder / "plain.npz").values()))

    items = data.size.items
    yield Case("preparation", items, "arrays", lambda: _arrays(data), pandas, 0.0)
    yield Case("preparation", items, "and splits, audit, card", lambda: _all(data), pandas, 0.0, memory=True)


def _arrays(data: Data) -> Work:
    """Do no more than the plain script: read, drop copies, order, number, save."""

    def work() -> float:
        domain = assemble(data.table.events(NOWHERE), data.table).domains[0]
        for kind, values in arrays(domain).items():
            np.save(data.folder / f"ours-{kind}.npy", values)
        return len(domain.items)

    return work


def _all(data: Data) -> Work:
    target = data.folder / "again"

    def work() -> float:
        shutil.rmtree(target, ignore_errors=True)
        return len(prepare(data.table, {"name": "bench"}, NOWHERE, target).sequences().items)

    return work

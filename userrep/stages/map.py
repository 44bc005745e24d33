"""`userrep map`: users in two dimensions, coloured by a label."""

from pathlib import Path
from typing import Any

import numpy as np

from userrep import console
from userrep.build import build
from userrep.errors import DataError, UsageError
from userrep.evaluation.plane import check_umap, pca, umap
from userrep.evaluation.ranking import Csr
from userrep.run import open_run
from userrep.sequences.protocol import Protocol
from userrep.sequences.split import ROLES
from userrep.sequences.store import Prepared, open_prepared
from userrep.stages import pictures
from userrep.stages.labels import labels_of
from userrep.stages.map_picture import groups, scatter
from userrep.stages.request import Request
from userrep.stages.training import choose_device
from userrep.stages.vectors import embedder

VERB = "map"
SEED = 0  # of the sample, and of UMAP
LEAST = 3  # users: fewer are no map


def run(request: Request) -> dict[str, Any]:
    """Draw users of the run `extra["source"]`, coloured by `extra["label"]`, to the file `extra["out"]`.

    They are laid out by `extra["projection"]`, pca or umap: at most `extra["users"]` of those of `extra["split"]`.

    Raises:
        UsageError: the file is no .png, the run holds no encoder or has not trained the readout, a package is missing.
        DataError: the data have no such label, or too few users.
    """
    label, projection, out = (request.extra[name] for name in ("label", "projection", "out"))
    if Path(out).suffix != ".png":
        raise UsageError(f"--out {out} is no .png", "give a name that ends in .png")
    pictures.check()
    if projection == "umap":
        check_umap()
    source = open_run(request.extra["source"])
    data = open_prepared(request.data_dir, source.config["dataset"])
    codes, classes = _coded(data, label)
    reader = embedder(source, data, choose_device(request.device), request.extra["readout"])
    protocol: Protocol = build(source.config["protocol"], at="protocol")
    rows = _sample(data, protocol, request.extra["split"], request.extra["users"])
    sequences = data.sequences(protocol.source)
    vectors = reader.all(Csr(sequences.items, sequences.offsets[rows], sequences.offsets[rows + 1]))
    places, explained = pca(vectors) if projection == "pca" else (umap(vectors, SEED), None)
    readout = reader.encoder.readout.spec
    title = f"{source.path.name}, {readout}: {len(rows):,} users by {label}"
    pictures.write(Path(out), scatter(places, groups(codes[rows], classes), title, _axes(explained)))
    console.note(f"written: {out}, {len(rows):,} users, {int((codes[rows] < 0).sum()):,} of them without {label}")
    shares = None if explained is None else explained.tolist()
    return {
        "run": str(source.path), "label": label, "users": len(rows), "readout": readout, "projection": projection,
        "explained": shares, "out": str(out),
    }  # fmt: skip


def _coded(data: Prepared, label: str) -> tuple[np.ndarray, list[str]]:
    """Return the class of each user `(U,)`, -1 where unknown, and the names of the classes."""
    labels_of(data)  # or there is none to choose from
    classes = data.classes(label)
    return data.labels(label), classes


def _sample(data: Prepared, protocol: Protocol, split: str, most: int) -> np.ndarray:
    """Return the rows of users of a role (or all) who have a history, in order; a drawn part of them past `most`."""
    chosen = np.diff(data.sequences(protocol.source).offsets) > 0
    if split != "all":
        chosen &= data.split(protocol.users, protocol.fold).user_role == ROLES.index(split)
    rows = np.flatnonzero(chosen)
    if len(rows) < LEAST:
        raise DataError(f"{len(rows)} user(s) of --split {split}: too few for a map", "take another split")
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(SEED).choice(rows, most, replace=False))


def _axes(explained: np.ndarray | None) -> tuple[str, str]:
    if explained is None:
        return "UMAP 1", "UMAP 2"
    first, second = (f"component {place}: {share:.1%} of the variance" for place, share in enumerate(explained, 1))
    return first, second

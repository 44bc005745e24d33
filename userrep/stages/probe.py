"""`userrep probe`: what linear models read from the frozen user vectors of runs, label by label."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from userrep import console, progress
from userrep.baselines.majority import Majority
from userrep.baselines.probe import logistic_regression
from userrep.baselines.probe_users import ProbeUsers
from userrep.build import build
from userrep.evaluation.ranking import Csr
from userrep.evaluation.spectrum import effective_rank
from userrep.objectives.classify import Classify
from userrep.run import Run, open_run
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared, open_prepared
from userrep.stages.labels import labels_to_predict
from userrep.stages.request import Request
from userrep.stages.restore import check_data, check_trained
from userrep.stages.seen import share_seen
from userrep.stages.training import choose_device
from userrep.stages.vectors import Embedder, embedder

VERB = "probe"
COLUMNS = ("accuracy", "macro_f1", "log_loss", "auc")


@dataclass(frozen=True)
class Subject:
    """A run that is probed: its data, the protocol under which that is done, and a task a label."""

    run: Run
    data: Prepared
    protocol: Protocol
    tasks: list[Classify]


def run(request: Request) -> dict[str, Any]:
    """Probe the runs of `extra["runs"]` on `extra["split"]`, by each of `extra["readouts"]`, for `extra["labels"]`.

    The readout is otherwise the run's own, the labels all that the data have. Users are read once for all labels.

    Raises:
        UsageError: a run holds no encoder or has not trained its readout, or scikit-learn is missing.
        DataError: the data have no such label, or none of two classes.
    """
    logistic_regression()  # before anything is encoded
    split, device = request.extra["split"], choose_device(request.device)
    subjects = [_subject(open_run(path), request) for path in request.extra["runs"]]
    probes, readouts = [], []
    for subject in subjects:
        seen = _seen(subject, split)
        for spec in dict.fromkeys(request.extra["readouts"]) or (None,):
            reader = embedder(subject.run, subject.data, device, spec)
            which = {"run": str(subject.run.path), "readout": reader.encoder.readout.spec}
            vectors, filled = _vectors(subject, reader)
            rank = effective_rank(torch.from_numpy(vectors[filled]))
            readouts.append({**which, "users": int(filled.sum()), "width": reader.width, "effective_rank": rank})
            found = _probes(subject, vectors, split, which["readout"])
            probes += [which | probe | {"users_seen": seen[probe["label"]]} for probe in found]
    _show(probes, readouts, split)
    only = str(subjects[0].run.path) if len(subjects) == 1 else None
    return {"run": only, "split": split, "probes": probes, "readouts": readouts}


def _subject(source: Run, request: Request) -> Subject:
    check_trained(source)
    data = open_prepared(request.data_dir, source.config["dataset"])
    check_data(source, data)
    protocol, fold = build(source.config["protocol"], at="protocol"), request.extra["fold"]
    drawn = {key: request.extra[key] for key in ("label_fraction", "label_draw")}
    tasks = [Classify(label, **drawn) for label in labels_to_predict(data, request.extra["labels"])]
    return Subject(source, data, protocol if fold is None else replace(protocol, fold=fold), tasks)


def _seen(subject: Subject, split: str) -> dict[str, float]:
    """Return of each label the share of the users asked about whose events the run was trained on; warn of it."""
    parts = subject.run, subject.data, subject.protocol
    shares = {task.label: share_seen(*parts, task, split) for task in subject.tasks}
    if any(shares.values()):
        console.warn(f"{subject.run.path} was trained on events of {max(shares.values()):.1%} of the {split} users")
    return shares


def _vectors(subject: Subject, reader: Embedder) -> tuple[np.ndarray, np.ndarray]:
    """Read all users `(U, W)` by their whole histories, and say which of them `(U,)` have one."""
    sequences = subject.data.sequences(subject.protocol.source)
    everyone = Csr(sequences.items, sequences.offsets[:-1], sequences.offsets[1:])
    parts = []
    with progress.working(f"reading {subject.run.path}", len(everyone.ends), "users") as shown:
        for block in reader.blocks(everyone):
            parts.append(block)
            shown.advance(len(block))
    return np.concatenate(parts).astype(np.float64), everyone.ends > everyone.starts


def _probes(subject: Subject, vectors: np.ndarray, split: str, readout: str) -> Iterator[dict[str, Any]]:
    """Probe one readout for each label; what is read of test users is recorded in the run."""
    source, data, protocol = subject.run, subject.data, subject.protocol
    for task in subject.tasks:
        probe = ProbeUsers(vectors)
        result = probe.fit_predict(data, protocol, task, split)
        assert probe.chosen is not None
        metrics, chosen = result.metrics(), probe.chosen.settings
        if split == "test":
            asked = {"label": task.label, "readout": readout, "fold": protocol.fold}
            source.add_reading(split=split, weights_hash=source.weights_hash, metrics=metrics, probe=asked)
        yield {
            "label": task.label, "users": len(result), "chosen": chosen, "metrics": metrics,
            "majority": Majority().fit_predict(data, protocol, task, split).metrics()["accuracy"],
        }  # fmt: skip


def _show(probes: list[dict[str, Any]], readouts: list[dict[str, Any]], split: str) -> None:
    rows = []
    for probe in probes:
        values = [probe["metrics"].get(name) for name in COLUMNS]
        rows.append([probe["run"], probe["readout"], probe["label"], probe["users"], *values, probe["majority"]])
    console.table(f"linear probes, {split}", ["run", "readout", "label", "users", *COLUMNS, "majority"], rows)
    rows = [[each[name] for name in ("run", "readout", "users", "width", "effective_rank")] for each in readouts]
    console.table("user vectors", ["run", "readout", "users", "width", "effective rank"], rows)

"""Certify: measure what each task of a chain reads and answers, and refuse a run in which an earlier task changed."""

import os
from typing import Any

import numpy as np
import torch

from userrep.errors import DivergedError, VerificationError
from userrep.files import plain
from userrep.methods.conure import owned_weights
from userrep.methods.method import Method
from userrep.models.encoder import Encoder
from userrep.objectives.objective import Objective
from userrep.run import Run
from userrep.run.certificate import REMEDY, Entry, read_certificate, read_certificates, write_certificate
from userrep.run.record import WEIGHTS
from userrep.sequences.batches import histories
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared
from userrep.stages.lineage import Served, chain_of, graft
from userrep.training.fingerprint import (
    difference,
    environment,
    hashes,
    logits_fingerprint,
    tensor_hash,
    tensors_read,
)
from userrep.training.weights import read_weights

PROBE = 32  # users at most
TOLERANCE = 1e-5  # of sampled logits, in another environment


def check_certified(method: Method, base: Run) -> None:
    """Raise, before anything is trained, where the run of the task before has no certificate to go on from."""
    if method.certified:
        read_certificate(base)


def certify(
    run: Run, method: Method, encoder: Encoder, objective: Objective, data: Prepared, protocol: Protocol
) -> dict[str, Any]:
    """Write the certificate of a run that is about to finish, its weights on disk; return what its record keeps of it.

    Entries of earlier tasks are those of the certificate before, and are measured again on the encoder at hand, which
    is moved to the processor. A method that keeps no certificate gets an empty answer.

    Raises VerificationError, naming tensor and task, where an earlier task would read or answer anything else.
    """
    if not method.certified:
        return {}
    runs = chain_of(run)
    earlier = read_certificates(runs[:-1])
    encoder.cpu().eval()
    objective.cpu().eval()
    objective.forget()
    state, entries = encoder.state_dict(), []
    for before, entry in zip(runs, earlier[-1]["tasks"] if earlier else (), strict=False):
        check(entry, measure(graft(state, method, entry["task"], before, data), data), f"training {run.path}")
        entries.append(entry | {"run": os.path.relpath(before.path.resolve(), run.path.resolve())})
    own = Served(len(runs), run, encoder, objective, protocol)
    entries.append(measure(own, data) | {"run": "."})
    base = run.parent()
    assert base is not None
    weights = next(run.path / name for name in WEIGHTS if (run.path / name).exists())
    fields = {"tasks": entries, "stored": hashes(read_weights(weights)), **_owners(encoder)}
    return {"certificate": write_certificate(run, base, weights, runs[-2] if earlier else None, fields)}


def measure(answering: Served, data: Prepared) -> Entry:
    """Return what a task reads and answers: hashes of all tensors, logits and metric on a fixed probe of users.

    The probe is drawn from the task's validation cases, the same by any machine, and scored in one batch.
    """
    objective, encoder, protocol = answering.objective, answering.encoder, answering.protocol
    tensors = {f"encoder.{name}": tensor for name, tensor in tensors_read(encoder).items()}
    tensors |= {f"objective.{name}": tensor for name, tensor in tensors_read(objective).items()}
    cases, inputs = objective.cases(data, protocol, "valid"), objective.inputs(data, protocol)
    drawn = np.random.default_rng(0).choice(len(cases), min(PROBE, len(cases)), replace=False)
    probe = cases.take(np.sort(drawn))
    items = torch.from_numpy(histories(inputs.items, inputs.offsets, probe, protocol.history))
    users = np.isin(np.arange(data.num_users), probe.rows)
    with torch.inference_mode():
        logits = objective.scores(encoder, items)
    if not torch.isfinite(logits).all():
        raise DivergedError(f"task {answering.task} ({answering.name}) answers with no numbers", "train it again")
    metric = objective.evaluate(encoder, data, protocol, "valid", users).metrics().get(objective.metric)
    return {
        "task": answering.task, "name": answering.name, "tensors": hashes(tensors),
        "probe": {"cases": len(probe), "sha256": tensor_hash(items)},
        "logits": logits_fingerprint(logits), "metric": {"name": objective.metric, "value": plain(metric)},
        "environment": environment(),
    }  # fmt: skip


def check(entry: Entry, found: Entry, what: str) -> str:
    """Hold what was measured to what was certified; say how the logits agree: bit for bit, or to 1e-5.

    Raises VerificationError, naming tensor and task; `what` is at fault.
    """
    task = f"task {entry['task']} ({entry['name']})"
    for name in sorted(entry["tensors"].keys() | found["tensors"].keys()):
        before, now = entry["tensors"].get(name), found["tensors"].get(name)
        if before != now:
            change = "lost" if now is None else "added" if before is None else "changed"
            raise VerificationError(f"{what} has {change} {name}, which {task} reads", REMEDY)
    if entry["probe"] != found["probe"]:
        raise VerificationError(f"{what}: the probe of {task} has other histories than were certified", REMEDY)
    if entry["environment"] == found["environment"]:
        if entry["logits"]["sha256"] != found["logits"]["sha256"]:
            raise VerificationError(f"{what}: {task} reads what it read and answers otherwise", REMEDY)
        if entry["metric"] != found["metric"]:
            raise VerificationError(f"{what}: the metric of {task} on its probe is another", REMEDY)
        return "bit for bit"
    gap = difference(entry["logits"], found["logits"])
    if gap > TOLERANCE:
        raise VerificationError(f"{what}: the logits of {task} differ by {gap:.1e}, more than {TOLERANCE:g}", REMEDY)
    return f"to {TOLERANCE:g}"


def _owners(encoder: Encoder) -> dict[str, Any]:
    """Count each owned weight's elements by owner, the free ones first; and the share of all that is free."""
    counts = {name: np.bincount(owned.owner.flatten().cpu().numpy()).tolist() for name, owned in owned_weights(encoder)}
    total = sum(sum(each) for each in counts.values())
    return {"owners": counts, "free": sum(each[0] for each in counts.values()) / total if total else None}

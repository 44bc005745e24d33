"""What the training stages share: devices, the shown loop, and what a finished run says of itself."""

import os
from pathlib import Path
from typing import Any

import torch

from userrep import console, progress, team
from userrep.errors import UsageError
from userrep.methods.route_watch import MARK
from userrep.objectives.objective import Objective
from userrep.sequences.protocol import Protocol, check_kinds
from userrep.sequences.split import Split
from userrep.sequences.store import Prepared
from userrep.signals import graceful
from userrep.training.fit import BEST, CHECKPOINT, fit
from userrep.training.job import Job
from userrep.training.journal import Journal


def choose_device(name: str) -> torch.device:
    """Return the device of `--device`: auto takes a GPU where there is one, and in a team each process its own."""
    if name in ("auto", "cuda") and torch.cuda.is_available() and team.size() > 1:
        return torch.device("cuda", team.local_rank())
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"there is no device '{name}'", "give auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device '{name}' is not supported", "give auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("this torch sees no GPU", "give --device cpu, or install a CUDA build of torch")
    return device


def enlist(trainer: dict[str, Any]) -> None:
    """Hand the command to as many processes as `trainer.devices` says; they train it together and this one ends.

    Raises:
        Handed: they have ended.
        UsageError: there are not so many devices.
    """
    wanted, own = int(trainer.get("devices", 1)), team.size()
    if own > 1:
        return
    kind, there = ("GPUs", torch.cuda.device_count()) if torch.cuda.is_available() else ("cores", os.cpu_count() or 1)
    if wanted > there:
        raise UsageError(f"trainer.devices is {wanted}, and there are {there} {kind}", f"give at most {there}")
    if wanted > 1:
        console.note(f"training in {wanted} processes")
        team.launch(wanted)


def train(job: Job) -> dict[str, Any]:
    """Run the loop with a progress line; return the record of the chosen epoch, by the last phase's validation.

    `settled` is added to it: what the run was made with where the config says auto.
    """
    total = sum((job.trainer.epochs if phase.epochs is None else phase.epochs) for phase in job.phases)
    console.note(f"training on {job.device}: {len(job.phases)} phase(s), at most {total} epochs")
    valid: dict[str, float] = {}
    with graceful() as stop, progress.training() as shown:
        for told in fit(job, stop):
            if told.record is None or told.record["loss"] is not None:  # else nothing was trained yet
                rates = {"loss": told.loss, **valid, "seq_s": told.sequences_per_second}
                shown.update(told.step, told.total, **rates)
            if told.record is not None:
                valid = {job.objective.metric: told.record[job.objective.metric]}
                console.note(_line(told.record, job.objective.metric))
    if team.follows():
        raise team.Handed()
    records = [record for record in Journal(job.folder / "log.jsonl").records() if "epoch" in record]
    last = [record for record in records if record["phase"] == job.phases[-1].name]
    return next(record for record in reversed(last) if record["best"]) | {"settled": job.settled}


def validation_metrics(record: dict[str, Any]) -> dict[str, float]:
    """Return the metrics of a log record without the loop's own fields."""
    own = ("phase", "epoch", "updates", "loss", "best", "sequences_per_second", "seconds", "settled")
    return {name: value for name, value in record.items() if name not in own and not name.startswith(("loss:", MARK))}


def conditions(data: Prepared, protocol: Protocol, objective: Objective) -> dict[str, Any]:
    """Return what makes a run's numbers comparable: data, splits and the protocol's hash."""
    check_kinds(data, protocol)
    splits = {part: data.split(getattr(protocol, part), protocol.fold_of(part)) for part in objective.splits}
    names = "+".join(sorted(split.hash for split in splits.values()))
    return {
        "data": {"name": data.name, "hash": data.hash},
        "splits": {part: _named(split) for part, split in splits.items()},
        "task": objective.task_name,
        "protocol_hash": protocol.hash(data.hash, names, objective.task_name),
    }


def seen_split(data: Prepared, protocol: Protocol) -> dict[str, Any]:
    """Return the split that says whose events were learned from, where one does (`sequences.protocol.seen_users`)."""
    divided = protocol.pretrain_users == "train"
    return {"seen_split": _named(data.split(protocol.users, protocol.fold))} if divided else {}


def _named(split: Split) -> dict[str, Any]:
    return {"name": split.name, "fold": split.fold, "hash": split.hash}


def clean(folder: Path) -> None:
    """Delete what only an unfinished run needs, optimiser state first among it."""
    for name in (CHECKPOINT, BEST):
        (folder / name).unlink(missing_ok=True)


def _line(record: dict[str, Any], metric: str) -> str:
    loss = "-" if record["loss"] is None else f"{record['loss']:.4f}"
    star = " *" if record["best"] else ""
    return (
        f"{record['phase']} epoch {record['epoch']}: loss {loss}, valid {metric} {record[metric]:.4f}{star}, "
        f"{record['sequences_per_second']:.0f} sequences/s, {record['seconds']:.0f} s"
    )

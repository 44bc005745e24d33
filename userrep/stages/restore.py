"""Restore: a run's model, rebuilt from its ancestors' weights and its own."""

from typing import Any

import torch

from userrep.build import build
from userrep.errors import DataError, UsageError
from userrep.methods.growth import grow_for
from userrep.methods.surgery import flatten, set_readout
from userrep.models.encoder import Encoder
from userrep.objectives.objective import Objective
from userrep.run import Run
from userrep.sequences.store import Prepared
from userrep.stages.resume import to_go_on
from userrep.training.weights import load_weights

REMADE = "prepare the same data again, or make the run again on this one: --fresh"


def restore(run: Run, data: Prepared, device: torch.device | None = None) -> tuple[Encoder, Objective]:
    """Return the trained encoder and objective of a run, in evaluation mode.

    Base weights are loaded first, the encoder is grown and adapted second, the delta third. Raises DataError where the
    data have another vocabulary than the run was trained on, VerificationError where an ancestor has changed.
    """
    check_trained(run)
    check_data(run, data)
    parent = run.parent()
    encoder, objective = untrained(run.config, parent, data)
    load_weights(run.weights, encoder, objective, partial=parent is not None)
    target = device or torch.device("cpu")
    return encoder.to(target).eval(), objective.to(target).eval()


def untrained(config: dict[str, Any], parent: Run | None, data: Prepared) -> tuple[Encoder, Objective]:
    """Return encoder and objective of a run's config as they are before its own weights are loaded."""
    protocol = build(config["protocol"], at="protocol")
    encoder = base_encoder(config, parent, data)
    aim = "task" if config.get("task") else "objective"
    objective = build(config[aim], at=aim)
    grow_for(encoder, objective, data, protocol)
    if config.get("method"):
        build(config["method"], at="method").adapt(encoder, protocol.readout)
    elif objective.reads_users:
        set_readout(encoder, protocol.readout)
    objective.setup(encoder, data, protocol)
    return encoder, objective


def base_encoder(config: dict[str, Any], parent: Run | None, data: Prepared) -> Encoder:
    """Return what a method starts from: the parent's encoder, or a random one where it wants no pre-training."""
    if parent is not None and uses_base(config):
        encoder, _ = restore(parent, data)
        return hand_over(encoder, parent, config).train()
    vocab_size = data.sequences(config["protocol"].get("source")).vocab_size
    return build(config["model"], at="model", vocab_size=vocab_size)


def hand_over(encoder: Encoder, parent: Run, config: dict[str, Any]) -> Encoder:
    """Return a parent's encoder as the method of `config` is given it.

    Weights that belong to the tasks of a chain are plain ones to a method that makes no promise to keep them: it can
    train what it reads.
    """
    return flatten(encoder) if certified(parent.config) and not certified(config) else encoder


def certified(config: dict[str, Any]) -> bool:
    """Say whether the method of a run's config keeps a certificate of its chain."""
    return bool(config.get("method")) and bool(build(config["method"], at="method").certified)


def uses_base(config: dict[str, Any]) -> bool:
    """Say whether the weights of a base are wanted: not by a method that starts from random ones."""
    return not config.get("method") or bool(build(config["method"], at="method").pretrained)


def check_trained(run: Run) -> None:
    """Raise UsageError for a run that is unfinished or holds no encoder."""
    if not run.finished:
        raise UsageError(f"run {run.path} is not finished", to_go_on(run))
    if "model" not in run.config:
        raise UsageError(f"run {run.path} is a {run.verb} run and holds no encoder", "give a pretrain run")


def check_data(run: Run, data: Prepared) -> None:
    """Raise DataError where `data`, or a split of it by which the run was made, is not what it was then."""
    trained_on = run.record["data"]
    if trained_on["hash"] != data.hash:
        raise DataError(
            f"run {run.path} was trained on {trained_on['name']} ({trained_on['hash'][:8]}), "
            f"the prepared {data.name} is {data.hash[:8]}",
            REMADE,
        )
    for split in (*run.record.get("splits", {}).values(), run.record.get("seen_split")):
        if split and (now := data.split(split["name"], split["fold"]).hash) != split["hash"]:
            raise DataError(
                f"run {run.path} was made with a split {split['name']} ({split['hash'][:8]}), "
                f"that of the prepared {data.name} is {now[:8]}",
                REMADE,
            )


def check_begun(run: Run, data: Prepared) -> None:
    """Raise DataError where a run was begun, and is perhaps finished, on other data than `data`."""
    if "data" in run.record:
        check_data(run, data)

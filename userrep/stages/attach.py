"""Attach: a method and a task are put on an encoder, and what they may not do to it is refused."""

from dataclasses import dataclass
from typing import Any

from userrep.build import build
from userrep.methods.growth import grow_for, with_growth
from userrep.methods.method import Method, Phase
from userrep.models.encoder import Encoder
from userrep.objectives.objective import Objective
from userrep.run import Run
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared
from userrep.stages.restore import uses_base
from userrep.stages.seen import check_cut
from userrep.training.weights import count

VERB = "transfer"


@dataclass(frozen=True)
class Attached:
    """What was put on an encoder; `whole` counts the weights of encoder and head that full fine-tuning would train."""

    method: Method
    objective: Objective
    protocol: Protocol
    phases: list[Phase]
    whole: int


def attach(encoder: Encoder, config: dict[str, Any], base: Run, data: Prepared) -> Attached:
    """Grow and change the encoder of `base` in place as a config of a transfer says, and make the task's head.

    Raises:
        ConfigError, UsageError: base, method, encoder and task do not go together.
    """
    protocol, method, objective = build(config["protocol"]), build(config["method"]), build(config["task"])
    if uses_base(config):
        check_cut(base, protocol, objective)
    grown = grow_for(encoder, objective, data, protocol)
    grown_size = count(encoder)
    before = build(base.config["method"]) if base.config.get("method") else None
    method.accept(encoder, VERB, str(base.path), before)
    method.adapt(encoder, protocol.readout)
    objective.setup(encoder, data, protocol)
    phases = with_growth(encoder, method.phases(encoder), grown)
    method.check(encoder, phases, objective)
    return Attached(method, objective, protocol, phases, grown_size + count(objective))


def rehearse(encoder: Encoder, config: dict[str, Any], base: Run, data: Prepared) -> Attached:
    """Attach, and do to the encoder in place all that its phases and their end would do but for training.

    It is then as the next task would find it, in all but values: how many weights a task takes depends on no value.
    """
    attached = attach(encoder, config, base, data)
    for phase in attached.phases:
        if phase.begin is not None:
            phase.begin(encoder)
    attached.method.finish(encoder)
    return attached

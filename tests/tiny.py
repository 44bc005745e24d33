"""The workshop of the contract tests: every yaml of a group, built small, on one small data set."""

from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from userrep.build import build
from userrep.config import compose
from userrep.files import read_yaml
from userrep.groups import choices, conf_dir
from userrep.methods import matrix
from userrep.methods.matrix import STEPS, shrink
from userrep.methods.method import Method
from userrep.methods.routed import routed
from userrep.models.encoder import Encoder
from userrep.objectives.objective import Objective
from userrep.sequences.prepare import prepare
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared
from userrep.signals import Stop
from userrep.stages.transfer import delta_names
from userrep.training.fit import fit
from userrep.training.job import Job
from userrep.training.seed import seed_everything
from userrep.training.trainer import Trainer
from userrep.training.weights import identities

MADE_BY = {"task": "transfer", "objective": "pretrain"}  # the verb by which a group may be made of parts
overlay: Path | None = None  # a folder laid out like conf/, for a newcomer
FOLDER = TemporaryDirectory(prefix="userrep-contracts-")  # removed when the tests end


def names(group: str) -> list[str]:
    return choices(group, overlay)


def node(group: str, name: str) -> dict[str, Any]:
    """Read a yaml of the overlay, or of conf/; a task or an objective that is made of others is composed of them."""
    own = overlay / group / f"{name}.yaml" if overlay else None
    found = dict(read_yaml(own if own and own.exists() else conf_dir() / group / f"{name}.yaml"))
    return composed(group, name, overlay) if group in MADE_BY and "defaults" in found else found


@cache
def composed(group: str, name: str, config_dir: Path | None) -> dict[str, Any]:
    return dict(compose(MADE_BY[group], [f"{group}={name}"], config_dir)[group])


@cache
def data() -> Prepared:
    """Prepare 48 synthetic users once a process, most of whom have events in a second domain too."""
    small = {"n_users": 48, "n_items": 40, "min_length": 6, "max_length": 20, "target_items": 16}
    synthetic = node("dataset", "synthetic") | small | {"labels": ["gender", "age"]}
    return prepare(build(synthetic), synthetic, Path(FOLDER.name) / "raw", Path(FOLDER.name) / "prepared")


def encoder(model: str, seed: int = 0, **changes: Any) -> Encoder:
    """Build a small encoder with weights far enough from zero that a mistake shows."""
    seed_everything(seed)
    found: Encoder = build(shrink(node("model", model)) | changes, vocab_size=data().sequences().vocab_size)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return found.eval()


def method(name: str) -> Method:
    return build(node("method", name))


def objective(group: str, name: str, **changes: Any) -> Objective:
    """Build an objective, with changes to keys that it has; a label that the small data lack becomes one they have."""
    return build(fitted(node(group, name), changes))


def fitted(wanted: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Fit the node of an objective, and those of the parts it has, to the small data."""
    wanted = wanted | {key: value for key, value in changes.items() if key in wanted}
    if "label" in wanted and wanted["label"] not in ("gender", "age"):
        wanted["label"] = "age"
    if "negatives" in wanted:
        wanted["negatives"] = 16
    if "parts" in wanted:
        wanted["parts"] = {name: fitted(part, changes) for name, part in wanted["parts"].items()}
    return wanted


def histories(batch: int = 5, seed: int = 0) -> Tensor:
    """Draw `(B, STEPS)` items behind 0, 1, 2, ... steps of padding."""
    vocab = data().sequences().vocab_size
    items = torch.randint(2, vocab, (batch, STEPS), generator=torch.Generator().manual_seed(seed))
    for row in range(batch):
        items[row, : row % (STEPS - 1)] = 0
    return items


def clone(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def states(encoder: Encoder, items: Tensor) -> Tensor:
    with torch.no_grad():
        return encoder.eval()(items)


def changed_states(encoder: Encoder, items: Tensor) -> Tensor:
    """Encode by what a method trained, for all users, where it lets them choose."""
    loop = routed(encoder)
    with loop.given(torch.ones(loop.count)) if loop else nullcontext():
        return states(encoder, items)


def users(encoder: Encoder, items: Tensor) -> Tensor:
    with torch.no_grad():
        return encoder.eval().user(items)


@dataclass
class Trained:
    """A base, what a method made of it before training, and after a few real steps."""

    method: Method
    encoder: Encoder
    objective: Objective
    base_states: Tensor
    start_states: Tensor
    start: dict[str, Tensor]  # the adapted encoder before training
    base_names: dict[str, str]  # adapted name of each base tensor -> its name in the base
    declared: set[str]  # parameters that some phase may train
    delta: set[str]


@cache
def trained(model: str, adaptation: str, task: str = "gender", readout: str = "mean+token") -> Trained:
    """Adapt a small base and train it for a few steps with weight decay.

    Raises ConfigError where the encoder refuses the method, with the reason.
    """
    own, adapting, protocol = encoder(model), method(adaptation), Protocol(readout=readout, history=STEPS)
    base_states = states(own, histories())
    ids = {id(tensor): name for name, tensor in own.state_dict(keep_vars=True).items()}
    before = identities(own)
    adapting.adapt(own, protocol.readout)
    start_states, start = states(own, histories()), clone(own)
    base_names = {name: ids[id(t)] for name, t in own.state_dict(keep_vars=True).items() if id(t) in ids}
    aim = objective("task", task)
    aim.setup(own, data(), protocol)
    phases = adapting.phases(own)
    delta = delta_names(adapting, own, phases, before)
    declared = delta & {name for name, _ in own.named_parameters()}
    trainer = Trainer(epochs=2, batch_size=16, length=STEPS, lr=0.01, weight_decay=0.1, table_weight_decay=0.1)
    with TemporaryDirectory(dir=FOLDER.name) as folder:
        job = Job(
            encoder=own, objective=aim, phases=phases, data=data(), protocol=protocol, trainer=trainer,
            users=np.ones(data().num_users, dtype=bool), length=STEPS, seed=0, folder=Path(folder),
        )  # fmt: skip
        for _ in fit(job, Stop()):
            pass
    adapting.finish(own)
    return Trained(adapting, own.eval(), aim.eval(), base_states, start_states, start, base_names, declared, delta)


@cache
def refusal(model: str, adaptation: str) -> str | None:
    """Return why an encoder refuses a method, None where it takes it."""
    reason = matrix.refusal(node("model", model), node("method", adaptation))
    return reason and f"{model} x {adaptation}: {reason}"

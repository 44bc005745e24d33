"""Transfer: a method adapts a pre-trained encoder to a task."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from userrep import console, team
from userrep.build import build
from userrep.config import compose
from userrep.errors import UsageError
from userrep.methods.method import Method, Phase
from userrep.methods.surgery import matching
from userrep.models.encoder import Encoder
from userrep.run import Run, default_path, newest_run, writing
from userrep.sequences.store import Prepared, open_prepared
from userrep.stages.attach import VERB, attach
from userrep.stages.certificate import certify, check_certified
from userrep.stages.chain_audit import check_chain
from userrep.stages.chaining import Steps, asked, check_new, run_tasks
from userrep.stages.controls import hold, plan
from userrep.stages.inherit import check_source, given, groups_given, origins, own_overrides, protocol_of, settled
from userrep.stages.request import Request
from userrep.stages.resolved import base_run, child_config
from userrep.stages.restore import base_encoder, check_begun, check_data, check_trained, uses_base
from userrep.stages.resume import gone_on_with, resumed
from userrep.stages.seen import share_seen
from userrep.stages.served import check_serves
from userrep.stages.training import choose_device, clean, conditions, enlist, train, validation_metrics
from userrep.training.job import Job
from userrep.training.seed import seed_everything
from userrep.training.weights import added_names, buffers, changed_buffers, count, identities, save_weights

DELTA = "delta.safetensors"


def run(request: Request) -> dict[str, Any]:
    """Adapt, train, and write the delta; report what trained and what it weighs. `tasks=[...]` makes a run for each."""
    several = asked(request)
    if several is not None:
        if team.size() > 1:
            raise UsageError("a list of tasks makes several runs, and a team trains one", "give one task a command")
        return run_tasks(several, Steps(lambda own: base_of(own, None), compose_from, _make, _told))
    earlier = resumed(request, VERB)
    base = base_of(request, earlier)
    check_trained(base)
    config = gone_on_with(earlier, request) if earlier and not request.config else compose_from(base, request)
    check_new(base, config)
    path = earlier.path if earlier else request.run or default_path(request.runs_dir, VERB, config, base)
    controls = plan(request.extra.get("controls") or (), config, base, path, request)
    if request.dry_run:
        planned = {"controls": {control.name: str(control.path) for control in controls}} if controls else {}
        return {"run": str(path), "base": str(base.path), "config": config} | planned
    if controls and (team.size() > 1 or config["trainer"].get("devices", 1) > 1):
        raise UsageError("--controls makes several runs, and a team trains one", "make each with a command of its own")
    enlist(config["trainer"])
    made = _make(base, request, config, path)
    answer = _told(made, base)
    if controls:
        answer["controls"] = hold(made, controls, partial(_make, base), request)
    return answer


def _told(made: Run, base: Run) -> dict[str, Any]:
    shown = ("trainable", "trainable_share", "delta_bytes", "metrics", "test_users_seen")
    chosen = {name: made.choices[name] for name in ("method", "task")}
    return {"run": str(made.path), "base": str(base.path), **chosen, **{name: made.record[name] for name in shown}}


def _make(base: Run, request: Request, config: dict[str, Any], path: Path) -> Run:
    """Return the run of a config at a path: trained, gone on with, or as it was made before."""
    if config["trainer"].get("devices", 1) > team.size():
        raise UsageError("a list of tasks trains on one device", "give one task a command, or trainer.devices=1")
    console.note(f"base {base.path}, task {config['choices']['task']}, method {config['choices']['method']}")
    data = open_prepared(request.data_dir, config["dataset"])
    check_data(base, data)
    with writing(path, verb=VERB, config=config, parent=base, fresh=request.fresh) as session:
        check_begun(session.run, data)
        if not session.finished_before:
            job, method, names, full = job_of(request, config, base, data, path)
            check_certified(method, base)
            seen = share_seen(base, data, job.protocol, job.objective) if uses_base(config) else 0.0
            session.update(**conditions(data, job.protocol, job.objective))
            held = buffers(job.encoder)
            record = train(job)
            method.finish(job.encoder)
            names |= changed_buffers(job.encoder, held)
            size = save_weights(path / DELTA, job.encoder, job.objective, names)
            certificate = certify(session.run, method, job.encoder, job.objective, data, job.protocol)
            session.finish(
                **_weight(job, names, full), delta_bytes=size, metrics=validation_metrics(record),
                best_epoch=record["epoch"], updates=record["updates"], training_seconds=record["seconds"],
                settled=record["settled"], test_users_seen=seen, **certificate,
            )  # fmt: skip
        clean(path)
        made = session.run
    _report(path, made.record, base)
    return made


def base_of(request: Request, earlier: Run | None) -> Run:
    """Return the run named by `--from`, the resumed run's own base, or the newest pre-training that fits."""
    if request.base is not None:
        return base_run(request.base, request)
    return (earlier.parent() if earlier else None) or newest_run(
        "pretrain", request.runs_dir, groups_given(request, ("dataset", "model"))
    )


def compose_from(base: Run, request: Request) -> dict[str, Any]:
    """Compose a child's config: data set and model are the base's, the task its first, the fold the one it held out."""
    if request.config is not None:
        config = child_config(VERB, base, request)
        check_source(base, config["protocol"])
        check_serves(config, VERB, base, request)
        return config
    overrides = own_overrides(request, base, ("dataset", "model"))
    if given(request, "task") is None:
        overrides.insert(0, f"task={base.config['dataset']['tasks'][0]}")
    overrides += protocol_of(base, request)
    config = compose(VERB, overrides, request.config_dir)
    if going_on := settled(base, config):
        config = compose(VERB, [*overrides, *going_on], request.config_dir)
    check_source(base, config["protocol"])
    inherited = {group: base.config[group] for group in ("dataset", "model")}
    made = {group: base.config["choices"][group] for group in ("dataset", "model")}
    check_serves(config, VERB, base, request)
    told = {"choices": config["choices"] | made, "origins": origins(config, request, base, tuple(inherited))}
    return config | inherited | told


def job_of(
    request: Request, config: dict[str, Any], base: Run, data: Prepared, folder: Any
) -> tuple[Job, Method, set[str], int]:
    """Build the training and its method, name the tensors of its delta, count what full fine-tuning would train."""
    seed_everything(config["seed"])
    encoder = base_encoder(config, base, data)
    before, trainer = identities(encoder), build(config["trainer"])
    attached = attach(encoder, config, base, data)
    method, objective, protocol, phases = attached.method, attached.objective, attached.protocol, attached.phases
    if uses_base(config):
        check_chain(base, data, protocol, objective)
    names = delta_names(method, encoder, phases, before)
    length = protocol.history if objective.kind == "classification" else trainer.length
    job = Job(
        encoder=encoder, objective=objective, phases=phases, data=data, protocol=protocol, trainer=trainer,
        users=np.ones(data.num_users, dtype=bool), length=length, seed=config["seed"], folder=folder,
        validate_first=True, device=choose_device(request.device),
    )  # fmt: skip
    return job, method, names, attached.whole


def delta_names(method: Method, encoder: Encoder, phases: list[Phase], before: set[int]) -> set[str]:
    """Name the encoder tensors of a delta: what any phase trains, and what was not there `before` (`identities`)."""
    if not method.pretrained:
        return set(encoder.state_dict())
    trained = {name for phase in phases for name in matching(encoder, phase.trainable)}
    return trained | added_names(encoder, before)


def _weight(job: Job, names: set[str], full: int) -> dict[str, Any]:
    """Count what trains, heads included, and its share of full fine-tuning of the unchanged encoder."""
    parameters = {name: tensor.numel() for name, tensor in job.encoder.named_parameters()}
    head = count(job.objective)
    added = sum(size for name, size in parameters.items() if name in names)
    return {"trainable": added + head, "head": head, "trainable_share": (added + head) / full}


def _report(path: Any, saved: dict[str, Any], base: Run) -> None:
    console.note(
        f"trainable {saved['trainable']:,} ({saved['trainable_share']:.2%} of full fine-tuning, "
        f"head {saved['head']:,}), delta {saved['delta_bytes']:,} bytes, "
        f"test users seen in pre-training {saved['test_users_seen']:.1%}"
    )
    held = base.config["protocol"]
    if saved["test_users_seen"] and held.get("pretrain_users") == "train":
        console.warn(f"the base has learned from test users: the fold that it held out is protocol.fold={held['fold']}")
    console.note(f"transferred: {path}")

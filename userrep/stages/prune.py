"""Prune: drop the small weights of a pre-trained run, retrain the rest, and export a plain encoder on request."""

from pathlib import Path
from typing import Any

from userrep import console
from userrep.build import build
from userrep.config import compose
from userrep.errors import UsageError
from userrep.methods.prune import sparsity
from userrep.run import Run, Session, default_path, writing
from userrep.sequences.protocol import seen_users
from userrep.sequences.store import Prepared, open_prepared
from userrep.stages.certificate import certify
from userrep.stages.export import export
from userrep.stages.inherit import origins, own_overrides
from userrep.stages.request import Request
from userrep.stages.resolved import base_run, child_config
from userrep.stages.restore import check_begun, check_trained, hand_over, restore
from userrep.stages.resume import gone_on_with, resumed
from userrep.stages.served import check_serves
from userrep.stages.training import choose_device, clean, conditions, enlist, seen_split, train, validation_metrics
from userrep.training.job import Job
from userrep.training.journal import Journal
from userrep.training.seed import seed_everything
from userrep.training.weights import save_weights

VERB = "prune"
INHERITED = ("dataset", "model", "objective", "protocol")


def run(request: Request) -> dict[str, Any]:
    """Prune and retrain; report sparsity and the metric before, after pruning and after retraining."""
    base = base_run(_base_path(request), request)
    check_trained(base)
    if "objective" not in base.config:
        raise UsageError(f"run {base.path} is a {base.verb} run", "prune a pretrain run: its objective retrains")
    earlier = resumed(request, VERB)
    said = request.config or request.extra.get("keep")
    config = gone_on_with(earlier, request) if earlier and not said else compose_from(base, request)
    path = earlier.path if earlier else request.run or default_path(request.runs_dir, VERB, config, base)
    if request.dry_run:
        return {"run": str(path), "base": str(base.path), "config": config}
    enlist(config["trainer"])
    data = open_prepared(request.data_dir, config["dataset"])
    with writing(path, verb=VERB, config=config, parent=base, fresh=request.fresh) as session:
        check_begun(session.run, data)
        if not session.finished_before:
            session.finish(**_train(request, config, base, data, session))
        clean(path)
        saved = session.run.record
        pruned = session.run
    rows = [[when, saved["stages"][when]] for when in ("before", "pruned", "retrained")]
    console.table(f"pruned: {path}, sparsity {saved['sparsity']:.3f}", ["", f"valid {saved['metric']}"], rows)
    answer = {"run": str(path), "base": str(base.path)} | {key: saved[key] for key in ("sparsity", "metrics", "stages")}
    if request.extra.get("export") is not None:
        to, (encoder, objective) = Path(request.extra["export"]), restore(pruned, data)
        answer["export"] = export(pruned, encoder, objective, data, to, weights=pruned, fresh=request.fresh)
    return answer


def compose_from(base: Run, request: Request) -> dict[str, Any]:
    """Compose a child's config: all but method and trainer are the base's."""
    if request.config is not None:
        config = child_config(VERB, base, request)
        check_serves(config, VERB, base, request)
        return config
    keep = request.extra.get("keep")
    overrides = own_overrides(request, base, INHERITED)
    composed = compose(VERB, overrides + ([] if keep is None else [f"method.keep={keep}"]), request.config_dir)
    check_serves(composed, VERB, base, request)
    choices = base.config["choices"] | {group: composed["choices"][group] for group in ("method", "trainer")}
    told = {"choices": choices, "origins": origins(composed, request, base, INHERITED)}
    return composed | {group: base.config[group] for group in INHERITED} | told


def _base_path(request: Request) -> Path:
    path = request.extra.get("source") or request.base
    if path is None:
        raise UsageError("prune needs a run", "type: userrep prune RUN --keep 0.3")
    return Path(path)


def _train(request: Request, config: dict[str, Any], base: Run, data: Prepared, session: Session) -> dict[str, Any]:
    seed_everything(config["seed"])
    encoder, objective = restore(base, data)
    encoder = hand_over(encoder, base, config)
    method, protocol, trainer = build(config["method"]), build(config["protocol"]), build(config["trainer"])
    users = seen_users(data, protocol)
    session.update(**conditions(data, protocol, objective), **seen_split(data, protocol))
    before = objective.evaluate(encoder, data, protocol, "valid", users).metrics()
    method.accept(encoder, VERB, str(base.path))
    method.adapt(encoder, protocol.readout)
    job = Job(
        encoder=encoder, objective=objective, phases=method.phases(encoder), data=data, protocol=protocol,
        trainer=trainer, users=users, length=trainer.length, seed=config["seed"], folder=session.path,
        device=choose_device(request.device),
    )  # fmt: skip
    record = train(job)
    method.finish(encoder)
    save_weights(session.path / "delta.safetensors", encoder, objective)
    certificate = certify(session.run, method, encoder, objective, data, protocol)
    pruned = next(r for r in Journal(session.path / "log.jsonl").records() if r["phase"] == job.phases[0].name)
    metric = objective.metric
    return {
        "metric": metric, "metrics": validation_metrics(record), "sparsity": sparsity(encoder),
        "stages": {"before": before[metric], "pruned": pruned[metric], "retrained": record[metric]},
        "best_epoch": record["epoch"], "training_seconds": record["seconds"], "settled": record["settled"],
    } | certificate  # fmt: skip

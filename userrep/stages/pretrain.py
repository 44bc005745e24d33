"""Pre-train: an encoder learns from behaviour alone."""

from typing import Any

from userrep import console
from userrep.build import build
from userrep.methods.method import Phase
from userrep.run import default_path, writing
from userrep.sequences.protocol import seen_users
from userrep.sequences.store import Prepared, open_prepared
from userrep.stages.request import Request
from userrep.stages.resolved import config_of
from userrep.stages.restore import check_begun, untrained
from userrep.stages.resume import gone_on_with, resumed
from userrep.stages.training import choose_device, clean, conditions, enlist, seen_split, train, validation_metrics
from userrep.training.job import Job
from userrep.training.seed import seed_everything
from userrep.training.weights import count, save_weights

VERB = "pretrain"


def run(request: Request) -> dict[str, Any]:
    """Train an encoder and its objective; write the best weights by validation, and the last ones beside them."""
    earlier = resumed(request, VERB)
    config = gone_on_with(earlier, request) if earlier and not request.config else config_of(VERB, request)
    path = earlier.path if earlier else request.run or default_path(request.runs_dir, VERB, config)
    if request.dry_run:
        return {"run": str(path), "config": config}
    enlist(config["trainer"])
    data = open_prepared(request.data_dir, config["dataset"])
    with writing(path, verb=VERB, config=config, fresh=request.fresh) as session:
        check_begun(session.run, data)
        if not session.finished_before:
            job = job_of(request, config, data, session.run.path)
            session.update(**conditions(data, job.protocol, job.objective), **seen_split(data, job.protocol))
            record = train(job)
            save_weights(path / "model.safetensors", job.encoder, job.objective)
            session.finish(
                metrics=validation_metrics(record), best_epoch=record["epoch"], updates=record["updates"],
                parameters=count(job.encoder) + count(job.objective), pretrained_users=int(job.users.sum()),
                training_seconds=record["seconds"], settled=record["settled"],
            )  # fmt: skip
        clean(path)
        saved = session.run.record
    console.note(f"pre-trained encoder: {path}")
    return {"run": str(path), "metrics": saved["metrics"], "parameters": saved["parameters"]}


def job_of(request: Request, config: dict[str, Any], data: Prepared, folder: Any) -> Job:
    """Build the training of a config: encoder, objective, and who may be trained on."""
    seed_everything(config["seed"])
    protocol = build(config["protocol"], at="protocol")
    encoder, objective = untrained(config, None, data)
    trainer = build(config["trainer"], at="trainer")
    return Job(
        encoder=encoder, objective=objective, phases=[Phase("train", ("*",))], data=data, protocol=protocol,
        trainer=trainer, users=seen_users(data, protocol), length=trainer.length, seed=config["seed"],
        folder=folder, device=choose_device(request.device),
    )  # fmt: skip

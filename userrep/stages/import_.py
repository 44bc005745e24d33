"""Import: a checkpoint that other code trained becomes an ordinary run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from userrep import console
from userrep.build import build
from userrep.config import choices, compose, conf_dir
from userrep.errors import UsageError
from userrep.files import read_yaml, sha256_of
from userrep.interop import Converted, check_kind, convert
from userrep.interop.files import read_checkpoint
from userrep.interop.rows import Rows, mapped_rows, placed, same_rows
from userrep.models.encoder import Encoder
from userrep.objectives.objective import Objective
from userrep.run import default_path, writing
from userrep.sequences.store import Prepared, open_prepared
from userrep.stages.request import Request
from userrep.stages.restore import check_begun
from userrep.stages.training import conditions
from userrep.training.seed import seed_everything
from userrep.training.weights import count, save_weights

VERB = "import"


def run(request: Request) -> dict[str, Any]:
    """Convert the checkpoint to the data set's ids and write it as a run; show its validation metrics there.

    `extra`: checkpoint (its file), kind, shape (texts `KEY=VALUE`), items (a csv of raw_item,row, or None).
    """
    converted = _read(request)
    config = _config(request, converted)
    path = request.run or default_path(request.runs_dir, VERB, config)
    if request.dry_run:
        return {"run": str(path), "config": config}
    data = open_prepared(request.data_dir, config["dataset"])
    with writing(path, verb=VERB, config=config, fresh=request.fresh) as session:
        check_begun(session.run, data)
        if not session.finished_before:
            rows = _rows(request, converted, data)
            encoder, objective = _models(config, converted, rows, data)
            protocol = build(config["protocol"])
            known = conditions(data, protocol, objective)  # before anything is written
            save_weights(path / "model.safetensors", encoder, objective)
            session.finish(
                **known,
                metrics=objective.evaluate(encoder, data, protocol, "valid").metrics(),
                parameters=count(encoder) + count(objective), imported_from=str(request.extra["checkpoint"]),
                items={"missing": rows.missing, "unused": rows.unused},
            )  # fmt: skip
        saved = session.run.record
    _report(path, saved, data)
    return {"run": str(path)} | {name: saved[name] for name in ("metrics", "parameters", "items")}


def _read(request: Request) -> Converted:
    checkpoint = request.extra.get("checkpoint")
    if checkpoint is None or not request.extra.get("kind"):
        raise UsageError("import needs a checkpoint and its kind", "type: userrep import FILE --kind tenrec-nextitnet")
    check_kind(request.extra["kind"])
    shape = parse_shape(request.extra.get("shape") or ())
    return convert(request.extra["kind"], read_checkpoint(Path(checkpoint)), **shape)


def parse_shape(texts: Sequence[str]) -> dict[str, Any]:
    """Read `dilations=[1,4]` and the like; raise UsageError for what is no KEY=VALUE."""
    shape = {}
    for text in texts:
        key, separator, value = text.partition("=")
        try:
            shape[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            separator = ""
        if not separator:
            raise UsageError(f"cannot read --shape {text}", "write KEY=VALUE, such as --shape dilations=[1,4,1,4]")
    return shape


def _config(request: Request, converted: Converted) -> dict[str, Any]:
    """Compose what `restore` needs: the checkpoint's model and method, an objective for its output layer."""
    config = compose(VERB, request.overrides, request.config_dir)
    if not any(text.lstrip("+").startswith("protocol.pretrain_users=") for text in request.overrides):
        config["protocol"] = config["protocol"] | {"pretrain_users": "all"}  # whom it has seen is not known: assume all
    own = bool(converted.head)
    objective = compose("pretrain", ["objective=next_item"])["objective"] | {"tied": not own, "bias": own}
    items = request.extra.get("items")
    checkpoint = {
        "kind": request.extra["kind"],
        "sha256": sha256_of(request.extra["checkpoint"]),
        "items": None if items is None else sha256_of(items),
    }
    name = _name_of(converted.model, request.extra["kind"])
    chosen = config.pop("choices") | {"model": name, "objective": "next_item"}
    config |= {"model": converted.model, "objective": objective}
    if converted.method is not None:
        config["method"] = converted.method
    return config | {"checkpoint": checkpoint, "choices": chosen}


def _name_of(model: Mapping[str, Any], kind: str) -> str:
    """Return what conf/model calls the class of a model, or the kind of checkpoint where it has no yaml."""
    targets = {name: read_yaml(conf_dir() / "model" / f"{name}.yaml")["_target_"] for name in choices("model")}
    return next((name for name, target in targets.items() if target == model["_target_"]), kind)


def _rows(request: Request, converted: Converted, data: Prepared) -> Rows:
    items, sequences = request.extra.get("items"), data.sequences()
    if items is not None:
        return mapped_rows(Path(items), converted.vocab_size, sequences, data.name)
    rows = same_rows(converted.vocab_size, sequences, data.name)
    console.warn(f"rows are taken for {data.name}'s own ids; where training numbered others, give --items FILE")
    return rows


def _models(config: Mapping[str, Any], converted: Converted, rows: Rows, data: Prepared) -> tuple[Encoder, Objective]:
    seed_everything(config["seed"])
    ours = placed(converted, rows)
    encoder = ours.module(config["protocol"]["readout"])
    objective = build(config["objective"])
    objective.setup(encoder, data, build(config["protocol"]))
    objective.load_state_dict(ours.head)
    return encoder, objective.eval()


def _report(path: Path, saved: Mapping[str, Any], data: Prepared) -> None:
    items = len(data.sequences().item_ids)
    missing, unused = saved["items"]["missing"], saved["items"]["unused"]
    console.note(f"{items - missing:,} of {items:,} items have a row in the checkpoint, {missing:,} start untrained")
    console.note(f"{unused:,} of the checkpoint's rows belong to no item of {data.name}")
    console.table("validation, next item", ["metric", "value"], list(saved["metrics"].items()))
    console.note(f"imported: {path}")
    console.note(f"next: userrep transfer --method peterrec --from {path}")

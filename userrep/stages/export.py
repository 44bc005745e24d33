"""Export: an encoder with its head, written out as a plain run that stands alone."""

from pathlib import Path
from typing import Any

from userrep import console
from userrep.errors import UsageError
from userrep.methods.finetune import Full
from userrep.methods.surgery import flatten
from userrep.models.encoder import Encoder
from userrep.objectives.objective import Objective
from userrep.run import Run, writing
from userrep.sequences.store import Prepared
from userrep.stages.restore import untrained
from userrep.training.weights import save_weights

ADDITIONS = ("table_rank", "stem_patch")  # of any method, and no changes of a weight that could be written out
KEPT = ("data", "splits", "seen_split", "task", "protocol_hash", "metrics", "sparsity")


def export(
    source: Run, encoder: Encoder, objective: Objective, data: Prepared, path: Path, *,
    weights: Run, fresh: bool = False,
) -> str:  # fmt: skip
    """Write an encoder that answers for the task of `source` as a plain run with no parent, each weight as it is read.

    `weights` is the run whose weights these are: `source`, or a later one of its chain. The encoder is flattened in
    place.

    Raises UsageError where it holds modules that are no change of a weight and that no base came with.
    """
    config = _plain_config(source) | {"exported_from": weights.weights_hash}
    flatten(encoder)
    if encoder.causal and not encoder.readout.needs_token:
        encoder.token = None  # of an earlier task; behind the newest item, where nothing that is read could see it
    _check_plain(encoder, source, config, data)
    verb = "transfer" if config.get("task") else "pretrain"
    with writing(path, verb=verb, config=config, source=weights, fresh=fresh) as session:
        if not session.finished_before:
            save_weights(path / "model.safetensors", encoder, objective)
            kept = {key: source.record[key] for key in KEPT if key in source.record}
            if weights.weights_hash != source.weights_hash:
                kept.pop("metrics", None)  # they were measured before the weights became those of a later run
            session.finish(**kept, exported_from=str(source.path))
    console.note(f"exported: {path}")
    return str(path)


def _plain_config(source: Run) -> dict[str, Any]:
    """Return the config of a plain run: in place of the method, what makes its readout and the modules it keeps."""
    config = {key: value for key, value in source.config.items() if key not in ("method", "trainer")}
    method = source.config.get("method") or {}
    added = {key: method[key] for key in ADDITIONS if method.get(key)}
    inserted = _inserted(source)
    if inserted or added or config.get("task"):
        plain = {"_target_": f"{Full.__module__}.{Full.__qualname__}"}
        config["method"] = (inserted or plain) | added
    return config


def _inserted(run: Run) -> dict[str, Any] | None:
    """Return the method whose modules the first ancestor came with: that of an imported run, else None."""
    base = run.parent()
    return run.config.get("method") if base is None else _inserted(base)


def _check_plain(encoder: Encoder, source: Run, config: dict[str, Any], data: Prepared) -> None:
    there = {name: tensor.shape for name, tensor in encoder.state_dict().items()}
    plain, _ = untrained(config, None, data)
    wanted = {name: tensor.shape for name, tensor in plain.state_dict().items()}
    odd = sorted(name for name in there.keys() | wanted.keys() if there.get(name) != wanted.get(name))
    if odd:
        raise UsageError(
            f"{source.path} cannot be written as a plain encoder: {odd[0]} is no weight of one",
            "export runs whose methods change weights and add no modules, such as conure, full or lora",
        )

"""Methods: show which method can be joined to which encoder, as the contract tests prove it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from userrep import console
from userrep.config import check_config_dir, compose
from userrep.files import read_yaml
from userrep.groups import choices, conf_dir
from userrep.methods.matrix import Row, matrix
from userrep.stages.request import Request

_GROUPS = (("model", "pretrain"), ("method", "transfer"))  # with a verb that composes each


def run(request: Request) -> dict[str, Any]:
    """Join every method to every encoder, both small and without data, and print what came of it."""
    check_config_dir(request.config_dir)
    models, methods = (_nodes(group, verb, request.config_dir) for group, verb in _GROUPS)
    rows = matrix(models, methods)
    _show(rows, list(models))
    return {"encoders": list(models), "methods": [_answer(row) for row in rows]}


def _nodes(group: str, verb: str, config_dir: Path | None) -> dict[str, Any]:
    """Read every yaml of a group; a user's own may have defaults and references, which only composing resolves."""
    found = {}
    for name in choices(group, config_dir):
        packaged = conf_dir() / group / f"{name}.yaml"
        shadowed = config_dir is not None and (config_dir / group / packaged.name).exists()
        if packaged.exists() and not shadowed:
            found[name] = read_yaml(packaged)
        else:
            found[name] = compose(verb, [f"{group}={name}"], config_dir)[group]
    return found


def _answer(row: Row) -> dict[str, Any]:
    answer = asdict(row)
    gaps = answer.pop("gaps")
    return answer | {"encoders": {model: reason is None for model, reason in gaps.items()}, "gaps": _reasons(gaps)}


def _reasons(gaps: dict[str, str | None]) -> dict[str, str]:
    return {model: reason for model, reason in gaps.items() if reason is not None}


def _show(rows: list[Row], models: list[str]) -> None:
    about = ["method", "verb", "joint", "starts as the base", "paper"]
    facts = [[row.name, " ".join(row.verbs), row.joint, row.identity_at_start, row.paper] for row in rows]
    console.table("methods", about, facts)
    console.table(
        "method x encoder", ["method", *models], [[row.name, *(row.gaps[m] is None for m in models)] for row in rows]
    )
    for row in rows:
        for model, reason in _reasons(row.gaps).items():
            console.note(f"{row.name} x {model}: {reason}")

"""Inherit: the config groups that a child takes over from its base, so that no override of them is ignored."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from userrep.build import build
from userrep.errors import UsageError
from userrep.methods.method import Method
from userrep.run import Run
from userrep.stages.request import Request


def given(request: Request, key: str) -> str | None:
    """Return the value of the last override of `key`, None where there is none."""
    found = [text.partition("=")[2] for text in request.overrides if text.partition("=")[0].lstrip("+~") == key]
    return found[-1] if found else None


def groups_given(request: Request, groups: tuple[str, ...]) -> dict[str, str]:
    """Return the choices that were made in some of `groups`."""
    return {group: name for group in groups if (name := given(request, group)) is not None}


def own_overrides(request: Request, base: Run, groups: tuple[str, ...]) -> list[str]:
    """Return the overrides that are the child's to make.

    Those of `groups` are the base's: one that agrees with it is left out.

    Raises UsageError for one that does not.
    """
    kept = []
    for text in request.overrides:
        key, _, value = text.partition("=")
        path = key.lstrip("+~").split(".")
        if path[0] not in groups:
            kept.append(text)
        elif read_value(value) != (held := held_at(base, path)):
            where = ".".join(path)
            raise UsageError(
                f"{text}, but base {base.path} has {where}={held}", f"leave {where} out, or start from another base"
            )
    return kept


def protocol_of(base: Run, request: Request) -> list[str]:
    """Return the overrides for the fold that the base held out and the domain that it reads, where none was given."""
    held = {key: base.config["protocol"].get(key) for key in ("fold", "source")}  # an older run has no source
    missing = [key for key, value in held.items() if value is not None and given(request, f"protocol.{key}") is None]
    return [f"protocol.{key}={held[key]}" for key in missing]


def settled(base: Run, config: Mapping[str, Any]) -> list[str]:
    """Return the overrides by which a chain goes on with the settings that its method began with.

    They stand where nobody said otherwise; of settings that exclude each other, one that was given stands for all.
    """
    held, own = base.config.get("method") or {}, config["method"]
    if held.get("_target_") != own["_target_"]:
        return []
    method: Method = build(own)
    unsaid = [keys for keys in method.settled if not any(f"method.{key}" in config["origins"] for key in keys)]
    open_to = [key for keys in unsaid for key in keys]
    return [f"method.{key}={json.dumps(held[key])}" for key in open_to if key in held and held[key] != own.get(key)]


def check_source(base: Run, protocol: Mapping[str, Any]) -> None:
    """Raise UsageError for a child that is to read another domain than its base."""
    held = base.config["protocol"].get("source")
    if protocol["source"] != held:
        raise UsageError(
            f"protocol.source={protocol['source']}, but base {base.path} reads {held or 'the main domain'}",
            "leave protocol.source out, or start from another base",
        )


def origins(config: Mapping[str, Any], request: Request, base: Run, groups: tuple[str, ...]) -> dict[str, str]:
    """Return a child's origins: the files of `groups`, and what was set without being typed, come from the base."""
    typed = {text.partition("=")[0].lstrip("+~") for text in request.overrides}
    ours = {key: where for key, where in config["origins"].items() if where != "override" or key in typed}
    files = [f"{group}/{base.config['choices'].get(group)}" for group in groups]
    return dict.fromkeys((*config["origins"], *files), "base") | ours


def held_at(run: Run, path: list[str]) -> Any:
    """Return a run's choice of a group, or its value at a key."""
    if len(path) == 1 and path[0] in run.choices:
        return run.choices[path[0]]
    node: Any = run.config
    for part in path:
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def read_value(value: str) -> Any:
    """Return the value of an override."""
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value

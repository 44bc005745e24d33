"""Resolved: a whole config from a file, in place of one that is composed from overrides."""

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from userrep.build import check
from userrep.config import checked_seed, compose
from userrep.errors import ConfigError, UsageError, suggest
from userrep.files import read_yaml
from userrep.groups import VERBS
from userrep.run import Run, open_run
from userrep.run.record import HOW, comparable
from userrep.stages.request import Request

INHERITED = {"pretrain": (), "transfer": ("dataset", "model"), "prune": ("dataset", "model", "objective", "protocol")}
_NAME = re.compile(r"\w[\w.+-]*")  # what may become part of the name of a folder


def config_of(verb: str, request: Request) -> dict[str, Any]:
    """Return the config of a verb that starts from no run: that of `--config`, or else composed from overrides."""
    if request.config is None:
        return compose(verb, request.overrides, request.config_dir)
    return _told(_alone(read_config(request.config, verb), request), verb, request)


def child_config(verb: str, base: Run, request: Request) -> dict[str, Any]:
    """Return the config of `--config` for a run that starts from `base`.

    Raises ConfigError where the file has another data set or model, or whatever else is the base's, than the base.
    """
    path = Path(str(request.config))
    config = _alone(read_config(path, verb), request)
    ours, theirs = comparable(config), comparable(base.config)
    for group in INHERITED[verb]:
        if ours[group] != theirs[group]:
            raise ConfigError(
                f"{path} has another {group} than base {base.path}",
                f"give the base that it is for, or write it again: userrep {verb} ... --dry-run > {path}",
            )
        config[group] = base.config[group]
        if group in base.choices:
            config["choices"][group] = base.choices[group]
    return _told(config, verb, request)


def read_config(path: Path, verb: str) -> dict[str, Any]:
    """Read a config as `--dry-run` prints it and a run keeps it, checked to the last key; it needs no Hydra.

    Raises:
        ConfigError: it is no config of this verb, or a key or a value is not known.
        DataError: the file cannot be read.
    """
    config = read_yaml(path)
    again = f"write it with userrep {verb} ... --dry-run > FILE, or take the config.yaml of such a run"
    sections = dict.fromkeys([*VERBS[verb].uses, *INHERITED[verb]])
    known = ("seed", *sections, "choices", "origins")
    if not isinstance(config, dict):
        raise ConfigError(f"{path} is no config", again)
    for key in known[:-1]:
        if key not in config:
            raise ConfigError(f"{path} is no config of {verb}: it has no {key}", again)
    for key in config:
        if key not in known:
            raise ConfigError(f"{path} is no config of {verb}: unknown key {key!r}", suggest(str(key), known))
    for name in sections:
        node = config[name]
        if not isinstance(node, Mapping) or "_target_" not in node:
            raise ConfigError(f"{path}: {name} names no class to build", again)
        if name != "dataset":  # of the data set only its prepared folder is wanted
            check(node, name)
    choices = config["choices"]
    named = [*choices.values(), config["dataset"].get("name")] if isinstance(choices, Mapping) else [None]
    if not all(isinstance(name, str) and _NAME.fullmatch(name) for name in named):
        raise ConfigError(f"{path}: choices and dataset.name are not all names", again)
    return config | {"seed": checked_seed(config["seed"]), "choices": dict(choices)}


def base_run(path: Path, request: Request) -> Run:
    """Open the run to start from; the file of its config will do to compose the config of what starts from it.

    Raises UsageError where there is no run, or where more is asked for than a config of a config.
    """
    if not path.is_file():
        return open_run(path)
    if not request.dry_run:
        raise UsageError(f"{path} is a file, not a run", "name the folder of a run; a config will do for --dry-run")
    return RunToBe(path)


class RunToBe(Run):
    """The run that the config of a file will make."""

    def __init__(self, path: Path) -> None:
        found = read_yaml(path)
        keys = found.keys() if isinstance(found, dict) else ()
        verb = "transfer" if "task" in keys else "prune" if "method" in keys else "pretrain"
        self._read = read_config(path, verb)
        super().__init__(path, {"verb": verb, "status": "finished", "choices": self._read["choices"]})

    @cached_property
    def config(self) -> dict[str, Any]:
        """The config of the file."""
        return self._read


def _alone(config: dict[str, Any], request: Request) -> dict[str, Any]:
    """Return the config with what may be typed beside a file: the seed, and how but not what is trained.

    Raises UsageError where anything else was typed.
    """
    allowed = {"seed": "--seed", **{f"trainer.{key}": f"trainer.{key}" for key in HOW}}
    others = [text for text in request.overrides if text.partition("=")[0] not in allowed]
    others += [f"--config-dir {request.config_dir}"] if request.config_dir else []
    if others:
        raise UsageError(
            f"--config {request.config} is a whole config, and {others[0]} is given too",
            f"leave it out, or compose without --config; beside it may stand {', '.join(allowed.values())}",
        )
    for key, value in _typed(request).items():
        group, _, name = key.partition(".")
        config = config | {group: config[group] | {name: value} if name else checked_seed(value)}
    check(config["trainer"], "trainer")
    return config


def _typed(request: Request) -> dict[str, Any]:
    """Return the values of the overrides, read without Hydra."""
    found = {}
    for text in request.overrides:
        key, _, value = text.partition("=")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"cannot read the override {text!r}", "write key=value") from error
    return found


def _told(config: dict[str, Any], verb: str, request: Request) -> dict[str, Any]:
    """Return the config with its origins: the file's own may be untrue, since it may have been changed."""
    file = f"--config {request.config}"
    origins = {"seed": file} | dict.fromkeys(_typed(request), "override")
    for group in dict.fromkeys([*VERBS[verb].uses, *INHERITED[verb]]):
        origins[f"{group}/{config['choices'].get(group)}"] = "base" if group in INHERITED[verb] else file
    return config | {"origins": origins}

"""The config of a command: composed from `conf/`, resolved to plain values, checked to the last key."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from userrep.build import check
from userrep.composition import MisfitError, compose_files, parse
from userrep.errors import ConfigError, UsageError, suggest
from userrep.files import read_yaml
from userrep.groups import GROUPS, OPTIONAL, VERBS, Verb, choices, complete, conf_dir

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

__all__ = ["checked_seed", "choices", "complete", "compose", "conf_dir", "flag_overrides"]

APART = {"verb": "verb", "for_task": "task"}  # keys of an experiment that hold what counts for one of a kind alone


def compose(verb: str, overrides: Sequence[str] = (), config_dir: Path | None = None) -> dict[str, Any]:
    """Compose the config of `verb`: `seed`, a node for each section it uses, their `origins`, the `choices` made.

    An optional section that was not chosen is None. `origins` names the keys that a user or an experiment set, and
    the choices that are files of the user's own; all else is of the packaged yaml of its choice. `config_dir` holds
    yaml files that add to `conf/` or stand in front of a file of the same name.

    Raises:
        ConfigError: a key, a choice or a value is unknown, of the wrong type, or may not be built.
    """
    known = VERBS[verb]
    check_config_dir(config_dir)
    parsed = [_checked(parse(text), verb, config_dir) for text in overrides]
    alone = _set_apart(verb, parsed, config_dir)
    config, chosen = _compose_with([*alone, *parsed], known, config_dir)  # what a user types comes last
    for name in APART:
        config.pop(name, None)
    _check_sections(config, known)
    kept: dict[str, Any] = {"seed": checked_seed(config.get("seed", 0))}
    kept |= {name: config.get(name) for name in known.uses}
    for name in known.uses:
        check(kept[name], name)
    kept["origins"] = _origins(parsed, alone, known, chosen, config_dir)
    return kept | {"choices": {name: chosen[name] for name in known.uses if chosen.get(name)}}


def _origins(
    typed: Sequence["Override"], alone: Sequence["Override"], verb: Verb, chosen: Mapping[str, str],
    config_dir: Path | None,
) -> dict[str, str]:  # fmt: skip
    """Return who set what: `trainer.epochs: override`, `trainer: experiment tiny`, `trainer/patient: its file`."""
    folders = [*([config_dir] if config_dir else []), conf_dir()]
    found: dict[str, str] = {}
    if name := chosen.get("experiment"):
        keys = [*_keys_of(_experiment(name, folders)), *(override.key_or_group for override in alone)]
        found |= dict.fromkeys(keys, f"experiment {name}")
    found |= {override.key_or_group: "override" for override in typed}
    found = {key: where for key, where in found.items() if key.partition(".")[0] in ("seed", *verb.uses)}
    for group in verb.uses if config_dir else ():
        path = folders[0] / group / f"{chosen.get(group)}.yaml"
        found |= {f"{group}/{chosen[group]}": str(path)} if path.is_file() else {}
    return found


def _experiment(name: str, folders: Sequence[Path], above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read an experiment with those below it that its defaults name: the `defaults` of all, its own keys last.

    Raises ConfigError where one stands on itself. One that there is not is left to Hydra, which refuses it.
    """
    if name in above:
        raise ConfigError(f"experiment {name} stands on itself", f"take it out of the defaults of {above[-1]}")
    paths = (folder / "experiment" / f"{name}.yaml" for folder in folders)
    path = next((path for path in paths if path.is_file()), None)
    own = dict(read_yaml(path) or {}) if path is not None else {}
    entries = own.get("defaults") or []
    found: dict[str, Any] = {}
    defaults: list[Any] = []
    for entry in entries:
        if isinstance(entry, str) and entry != "_self_":
            below = _experiment(entry.removeprefix("/experiment/"), folders, (*above, name))
            found = _merged(found, below)
            defaults += below["defaults"]
    return _merged(found, own) | {"defaults": [*defaults, *entries]}


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, section by section; what is above counts."""
    both = {
        key: _merged(below[key], above[key])
        for key in below.keys() & above.keys()
        if isinstance(below[key], Mapping) and isinstance(above[key], Mapping)
    }
    return {**below, **above, **both}


def _keys_of(experiment: Mapping[str, Any]) -> Iterator[str]:
    """Yield the groups and the dotted keys that an experiment sets for every verb."""
    for entry in experiment.get("defaults") or []:
        yield from (str(key).split()[-1].lstrip("/") for key in (entry if isinstance(entry, Mapping) else ()))
    yield from (key for key, _ in _leaves({key: experiment[key] for key in experiment.keys() - {"defaults", *APART}}))


def flag_overrides(overrides: Sequence[str], **flags: object) -> tuple[str, ...]:
    """Fold flags such as `dataset="ml-1m"` into the overrides; None means that the flag was not given.

    Raises:
        UsageError: a flag and an override of the same key disagree.
    """
    folded = list(overrides)
    for key, value in flags.items():
        if value is None:
            continue
        given = [text.partition("=")[2] for text in overrides if text.partition("=")[0].lstrip("+") == key]
        if any(other != str(value) for other in given):
            flag = key.rpartition(".")[2]
            raise UsageError(f"--{flag} {value} and {key}={given[0]} disagree", "give one of the two")
        if not given:
            folded.append(f"{key}={value}")
    return tuple(folded)


def check_config_dir(config_dir: Path | None) -> None:
    """Raise ConfigError for a `--config-dir` that is no folder laid out like conf/."""
    if config_dir is None:
        return
    if not config_dir.is_dir():
        raise ConfigError(f"--config-dir {config_dir} is no folder", "name a folder laid out like conf/")
    if not any((config_dir / name).exists() for name in (*GROUPS, "config.yaml")):
        raise ConfigError(
            f"--config-dir {config_dir} holds no config group",
            f"lay it out like conf/, with one or more of: {', '.join(GROUPS)}",
        )


def _checked(override: "Override", verb: str, config_dir: Path | None) -> "Override":
    """Return the override if its key is one the verb knows and its choice exists."""
    key, text = override.key_or_group, override.input_line
    if override.package is not None or "/" in key:
        raise ConfigError(f"{text}: packages and nested groups are not used here", "write group=choice")
    root = key.partition(".")[0]
    known = ("seed", *GROUPS)
    if root not in known:
        raise ConfigError(f"unknown key {root!r} in {text!r}", _full_name(str(text), key, verb) or suggest(root, known))
    uses = VERBS[verb].uses
    if root in GROUPS and root not in (*uses, "experiment"):
        raise ConfigError(f"{verb} does not use {root!r}", f"leave {text!r} out; it uses: {', '.join(uses)}")
    if key in GROUPS and not override.is_delete():
        _check_choice(key, override.value(), config_dir)
    return override


def _full_name(text: str, key: str, verb: str) -> str | None:
    """Return a hint for a key that was typed without its group: the whole names of it, as `verb` has them."""
    usual, _ = _compose_with([], VERBS[verb], None)
    sections = {group: usual[group] for group in VERBS[verb].uses if isinstance(usual.get(group), Mapping)}
    names = [name for name, _ in _leaves(sections) if name.endswith(f".{key}")]
    return f"did you mean {' or '.join(text.replace(key, name, 1) for name in names)}?" if names else None


def _check_choice(group: str, value: Any, config_dir: Path | None) -> None:
    if value is None and group in OPTIONAL:
        return
    found = choices(group, config_dir)
    if str(value) not in found:
        raise ConfigError(f"unknown {group} {value!r}", suggest(str(value), found))


def _set_apart(verb: str, overrides: Sequence["Override"], config_dir: Path | None) -> list["Override"]:
    """Return what the chosen experiment sets for this verb alone, then what it sets for the chosen task alone.

    Raises:
        ConfigError: it names a verb, a task or a key that there is not.
    """
    chosen = [override.value() for override in overrides if override.key_or_group == "experiment"]
    if not chosen or chosen[-1] is None:
        return []
    experiment = _experiment(str(chosen[-1]), [*([config_dir] if config_dir else []), conf_dir()])
    by_verb, by_task = (
        _sections(experiment, key, names, str(chosen[-1]))
        for key, names in zip(APART, (VERBS, choices("task", config_dir)), strict=True)
    )
    texts = _texts(by_verb.get(verb) or {})
    texts += [text for text in _texts(by_task.get(_task_of(overrides, experiment)) or {}) if _uses(verb, text)]
    return [_checked(parse(text), verb, config_dir) for text in texts]


def _sections(experiment: Mapping[str, Any], key: str, names: Iterable[str], name: str) -> Mapping[str | None, Any]:
    """Return what an experiment sets apart below `key`, by verb or by task."""
    found = experiment.get(key) or {}
    for owner in found if isinstance(found, Mapping) else ():
        if owner not in names:
            raise ConfigError(f"experiment {name} has an unknown {APART[key]} {owner!r}", suggest(str(owner), names))
    if not isinstance(found, Mapping) or not all(isinstance(node or {}, Mapping) for node in found.values()):
        shape = f"{{{APART[key]}: {{group: {{key: value}}}}}}"
        raise ConfigError(f"experiment {name} sets no keys below {key!r}", f"write {key}: {shape}")
    return found


def _task_of(overrides: Sequence["Override"], experiment: Mapping[str, Any]) -> str | None:
    """Return the task that was typed, or else the one that the experiment chooses."""
    typed = [override.value() for override in overrides if override.key_or_group == "task"]
    entries = [entry for entry in experiment.get("defaults") or [] if isinstance(entry, Mapping)]
    own = [value for entry in entries for key, value in entry.items() if str(key).split()[-1].lstrip("/") == "task"]
    return next((str(name) for name in (*reversed(typed), *reversed(own)) if name is not None), None)


def _uses(verb: str, text: str) -> bool:
    """Say whether a verb has what an override sets: a task has one set of keys for all verbs that know tasks."""
    root = text.partition("=")[0].partition(".")[0]
    return root not in GROUPS or root in VERBS[verb].uses


def _texts(section: Mapping[str, Any]) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in _leaves(section)]


def _leaves(node: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys of a node with their values."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{at}{key}.")
        else:
            yield f"{at}{key}", value


def _compose_with(
    overrides: list["Override"], verb: Verb, config_dir: Path | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Compose with the user's overrides, the verb's own choices standing in where nobody chose."""
    groups = [_plain(override) for override in overrides if override.key_or_group in GROUPS]
    keys = [override for override in overrides if override.key_or_group not in GROUPS]
    groups += _verb_choices(groups, verb, config_dir)
    added = any(override.is_add() or override.is_force_add() for override in keys)
    if not added:
        try:
            return compose_files([*groups, *map(_plain, keys)], config_dir)
        except MisfitError:
            pass  # perhaps a key of a class that its yaml leaves out
    base, _ = compose_files(groups, config_dir)
    return compose_files([*groups, *(_admitted(override, base) for override in keys)], config_dir)


def _verb_choices(groups: list[str], verb: Verb, config_dir: Path | None) -> list[str]:
    given = {text.lstrip("~").partition("=")[0] for text in groups}
    wanted = {group: choice for group, choice in verb.choices.items() if group not in given}
    if wanted and "experiment" in given:  # what an experiment chose stays
        without = _bare_choices(config_dir)
        _, chosen = compose_files(groups, config_dir)
        wanted = {group: choice for group, choice in wanted.items() if chosen.get(group) == without.get(group)}
    return [f"{group}={choice}" for group, choice in wanted.items()]


def _bare_choices(config_dir: Path | None) -> dict[str, str | None]:
    """Read what each group is where nobody chooses; to compose for it would take as long as the whole."""
    files = [folder / "config.yaml" for folder in (config_dir, conf_dir()) if folder is not None]
    defaults = read_yaml(next(file for file in files if file.exists()))["defaults"]
    return {group: choice for entry in defaults if isinstance(entry, dict) for group, choice in entry.items()}


def _plain(override: "Override") -> str:
    text = override.input_line or ""
    return text if override.is_delete() else text.lstrip("+")


def _admitted(override: "Override", base: Mapping[str, Any]) -> str:
    """Let a key be set that the yaml leaves out if its node has a `_target_`: `check` knows its keys."""
    *path, last = override.key_or_group.split(".")
    parent: Any = base
    for depth, part in enumerate(path):
        if not isinstance(parent, Mapping) or part not in parent:
            _refuse_key(".".join(path[: depth + 1]), part, parent)
        parent = parent[part]
    if isinstance(parent, Mapping) and last in parent:
        return _plain(override)
    if not isinstance(parent, Mapping) or "_target_" not in parent or override.is_delete():
        _refuse_key(override.key_or_group, last, parent)
    return f"++{_plain(override)}"


def _refuse_key(key: str, part: str, parent: Any) -> None:
    known = [str(name) for name in parent if name != "_target_"] if isinstance(parent, Mapping) else []
    raise ConfigError(f"unknown key {key!r}", suggest(part, known))


def _check_sections(config: Mapping[str, Any], verb: Verb) -> None:
    for name in config:
        if name not in ("seed", *GROUPS):
            raise ConfigError(f"unknown key {name!r}", suggest(name, ("seed", *GROUPS)))
    for name in verb.uses:
        node = config.get(name)
        if node is None and name in OPTIONAL:
            continue
        if node is None:
            raise ConfigError(f"no {name} was chosen", f"choose from: {', '.join(choices(name))}")
        if not isinstance(node, Mapping) or "_target_" not in node:
            raise ConfigError(
                f"the {name} that was chosen names no class", "give its yaml a _target_, as those in conf/"
            )


def checked_seed(value: Any) -> int:
    """Return a seed; ConfigError for what is none."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigError(f"seed is {value!r}", "give a whole number of at least 0")
    return value

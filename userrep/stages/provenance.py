"""Where each value of a run's config came from: a file, an override, an experiment or the base."""

from collections.abc import Iterator, Mapping
from typing import Any

from userrep.errors import ConfigError
from userrep.groups import VERBS
from userrep.run import Run

BASE, CHECKPOINT, SET, UNKNOWN = "base", "checkpoint", "set, or another file", "recorded"
HIDDEN = ("choices", "origins")

Values = dict[str, tuple[Any, str]]


def values(run: Run) -> Values:
    """Return each key of a run's config with its value and its origin, in the order of the config.

    Runs of a version that recorded no origins are held against what the packaged files say today.
    """
    config = run.config
    known, chosen = config.get("origins"), run.choices
    today = _of_today(run) if known is None else {}
    own = VERBS[run.verb].uses if run.verb in VERBS else ()
    found: Values = {}
    for key, value in flat({name: node for name, node in config.items() if name not in HIDDEN}):
        group = key.partition(".")[0]
        file = f"conf/{group}/{chosen[group]}.yaml" if group in chosen else "conf/config.yaml"
        if own and group not in (*own, "seed"):
            found[key] = value, CHECKPOINT if CHECKPOINT in config else BASE
        elif known is not None:
            found[key] = value, _recorded(key, known, known.get(f"{group}/{chosen.get(group)}", file))
        elif key in today:
            found[key] = value, file if today[key] == value else SET
        else:
            found[key] = value, SET if today else UNKNOWN
    return found


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the keys of a config, dotted, with their values; classes and what describes a data set are left out."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        elif key != "_target_":
            yield f"{prefix}{key}", value


def _recorded(key: str, known: Mapping[str, str], file: str) -> str:
    """Return who set a key or the node that it is in; a group's own name stands for the choice of its file."""
    parts = key.split(".")
    nearest = [".".join(parts[:length]) for length in range(len(parts), min(1, len(parts) - 1), -1)]
    return next((known[name] for name in nearest if name in known), file)


def _of_today(run: Run) -> dict[str, Any]:
    from userrep.config import compose  # brings Hydra, which only old runs need

    if run.verb not in VERBS:
        return {}
    words = [f"{group}={name}" for group, name in run.choices.items() if group in VERBS[run.verb].uses]
    try:
        return dict(flat(compose(run.verb, words)))
    except ConfigError:
        return {}

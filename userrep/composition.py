"""Composition: overrides and yaml files become one plain config; Hydra is called here and nowhere else."""

import re
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from userrep.errors import ConfigError, UsageError
from userrep.groups import GROUPS, choices, conf_dir, own_dir
from userrep.packages import installed

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

_lock = threading.Lock()  # Hydra keeps its state in globals
_overlay: Path | None = None
_plugin_registered = False


class MisfitError(ConfigError):
    """Hydra refuses to merge an override: most often it names a key that the yaml files leave out."""


def require_hydra() -> None:
    """Raise UsageError, with what to do without it, where Hydra is not installed."""
    if not installed("hydra", "omegaconf"):
        raise UsageError(
            "a config is composed by hydra-core, which is not installed",
            "pip install hydra-core; pretrain, transfer and prune also take one composed elsewhere: --config FILE",
        )


def parse(text: str) -> "Override":
    """Read one override.

    Raises ConfigError for one that cannot be read, or that asks for several runs.
    """
    override = _read(text)
    if override.is_sweep_override():
        raise ConfigError(f"{text} asks for several runs", f"give one value; run once for each of {text!r}")
    return override


def _read(text: str) -> "Override":
    require_hydra()
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(text)
    except (HydraException, RecursionError) as error:
        cause = f"cannot read the override {text!r}: {_first_line(error)}"
        named = [f"{group}={text}" for group in GROUPS if text in choices(group)]
        asked = f"did you mean {' or '.join(named)}? " if named else ""
        raise ConfigError(cause, f"{asked}write key=value, quoted where the value has spaces or commas") from error


def alternatives(text: str) -> list[str]:
    """Return the overrides that a sweep over one stands for, as Hydra's basic sweeper reads it; [] for one run.

    `key=a,b`, `key=range(0,5)` and `key=choice(a,b)` are sweeps; brackets, braces and quotes keep commas together.

    Raises:
        ConfigError: it cannot be read, or cannot be counted out: glob, interval.
    """
    override = _read(text)
    if not override.is_sweep_override():
        return []
    if not override.is_discrete_sweep() or "glob(" in text:
        raise ConfigError(f"{text} cannot be counted out", "name the values: key=a,b")
    key = override.get_key_element()
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def compose_files(overrides: Iterable[str], config_dir: Path | None) -> tuple[dict[str, Any], dict[str, str]]:
    """Call Hydra, once and alone; return the resolved config and the choice made in each group.

    Raises ConfigError, of the kind `MisfitError` for an override that does not fit the files.
    """
    require_hydra()
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import ConfigCompositionException, HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    global _overlay
    version = {"version_base": "1.3"} if hydra.__version__ < "1.4" else {}
    with _lock:
        _register_overlay()
        _overlay = config_dir
        GlobalHydra.instance().clear()
        try:
            with hydra.initialize_config_dir(str(conf_dir()), **version):
                composed = hydra.compose("config", overrides=list(overrides), return_hydra_config=True)
            chosen = dict(composed.hydra.runtime.choices)
            return _resolved(composed), chosen
        except (HydraException, OmegaConfBaseException, YAMLError) as error:
            kind = MisfitError if isinstance(error, ConfigCompositionException) else ConfigError
            raise kind(_cause(error), "see conf/ for the groups and their keys") from error
        except RecursionError as error:
            raise ConfigError("a yaml file is nested without end", "see conf/ for what such files hold") from error
        finally:
            _overlay = None
            GlobalHydra.instance().clear()


def _register_overlay() -> None:
    """Teach Hydra to look into the user's folder first; its own search path option cannot shadow a file."""
    global _plugin_registered
    if _plugin_registered:
        return
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    class Overlay(SearchPathPlugin):
        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            if _overlay is not None:
                search_path.prepend("userrep-config-dir", f"file://{_overlay.resolve()}")
            if (own := own_dir()) is not None:
                search_path.append("userrep-own", f"file://{own.resolve()}")

    Plugins.instance().register(Overlay)
    _plugin_registered = True


def _resolved(composed: "DictConfig") -> dict[str, Any]:
    from omegaconf import OmegaConf, open_dict

    with open_dict(composed):
        del composed["hydra"]
    _refuse_unresolvable(OmegaConf.to_container(composed, resolve=False), "")
    resolved = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


_REFERENCE = re.compile(r"\$\{[A-Za-z_][\w.\-]*\}")


def _refuse_unresolvable(value: Any, at: str) -> None:
    """Allow `${a.b}` and nothing that computes: no environment, no clock, no functions; no `???`."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_unresolvable(item, f"{at}.{key}" if at else str(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_unresolvable(item, f"{at}.{index}")
    elif value == "???":
        raise ConfigError(f"{at} is missing", f"give it: {at}=...")
    elif isinstance(value, str) and "${" in _REFERENCE.sub("", value):
        raise ConfigError(f"{at} is {value!r}", "only references to other keys are allowed, such as ${model.width}")


def _cause(error: Exception) -> str:
    """Return what is wrong in a line; of a broken yaml with its file and place."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return _first_line(error)
    return f"{mark.name.removeprefix('file://')}, line {mark.line + 1}, is not valid YAML: {error.problem}"  # type: ignore[attr-defined]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

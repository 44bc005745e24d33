"""Objects built from config nodes, of classes that were made to be built so and of no others."""

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from userrep.errors import ConfigError, UserRepError, suggest
from userrep.packages import installing

ALLOWED = frozenset(
    {
        "torch.nn.ReLU", "torch.nn.GELU", "torch.nn.SiLU", "torch.nn.LeakyReLU", "torch.nn.Tanh",
        "torch.nn.Identity", "torch.optim.Adam", "torch.optim.AdamW", "torch.optim.SGD",
    }
)  # fmt: skip
_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    types.NoneType: "null",
}
_REST = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_OURS = re.compile(r"(userrep(?:\.[a-z][a-z0-9_]*)+)\.([A-Z][A-Za-z0-9]*)")


class Component:
    """Marker base of everything a yaml may build; a subclass takes plain typed arguments."""


def build(node: Mapping[str, Any], *, at: str = "", **runtime: Any) -> Any:
    """Build the object that `node["_target_"]` names from the node's other keys and `runtime`.

    Nested nodes with a `_target_` are built first; `at` is where the node stands in the config, for messages.

    Raises:
        ConfigError: the target may not be built, a key is unknown or missing, or a value cannot work.
    """
    factory = _resolve(node.get("_target_"), at)
    given = {key: _build_value(value, _join(at, key)) for key, value in node.items() if key != "_target_"}
    both = given.keys() & runtime.keys()
    if both:
        raise ConfigError(f"{_join(at, min(both))} is set by the program", "leave this key out of the config")
    _check_arguments(factory, {**given, **runtime}, at)
    _check_missing(factory, given.keys() | runtime.keys(), at)
    try:
        return factory(**given, **runtime)
    except UserRepError:
        raise
    except ValueError as error:
        raise ConfigError(f"{at or factory.__name__}: {error}", "change this value in the config") from error


def check(node: Any, at: str = "", runtime: Sequence[str] | None = None) -> None:
    """Check everything about `node` that can be known without building it, nodes inside it included.

    With `runtime`, the names the program will add, missing keys are found too.

    Raises:
        ConfigError: as `build`.
    """
    if isinstance(node, Mapping):
        for key, value in node.items():
            check(value, _join(at, str(key)))
        if "_target_" in node:
            factory = _resolve(node["_target_"], at)
            given = {str(key): value for key, value in node.items() if key != "_target_"}
            _check_arguments(factory, given, at)
            if runtime is not None:
                _check_missing(factory, given.keys() | set(runtime), at)
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            check(value, _join(at, str(index)))


def _build_value(value: Any, at: str) -> Any:
    if isinstance(value, Mapping):
        if "_target_" in value:
            return build(value, at=at)
        return {key: _build_value(item, _join(at, str(key))) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_build_value(item, _join(at, str(index))) for index, item in enumerate(value)]
    return value


def _join(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


def _resolve(target: Any, at: str) -> Callable[..., Any]:
    """Return the class named by `target`, without touching anything that is not ours or on the list."""
    place = _join(at, "_target_")
    if target is None:
        raise ConfigError(f"{at or 'the config node'} has no _target_", "name the class to build")
    if isinstance(target, str) and target in ALLOWED:
        module, name = target.rsplit(".", 1)
        return getattr(import_module(module), name)
    found = _import(target, place) if isinstance(target, str) and _OURS.fullmatch(target) else None
    if not (isinstance(found, type) and issubclass(found, Component) and _full_name(found) == target):
        raise ConfigError(
            f"{place} is {target!r}, which may not be built from a config",
            f"name a component of userrep by the module that defines it, or: {', '.join(sorted(ALLOWED))}",
        )
    return found


def _full_name(found: type) -> str:
    return f"{found.__module__}.{found.__name__}"


def _import(target: str, place: str) -> Any:
    module, _, name = target.rpartition(".")
    try:
        return getattr(import_module(module), name, None)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing.partition(".")[0] != "userrep":
            cause = f"{place} is {target!r}, which needs the package {missing!r}"
            raise ConfigError(cause, installing(missing)) from error
        return None


def _parameters(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    found: dict[str, inspect.Parameter] = {}
    for one in _initialisers(factory):
        found = dict(inspect.signature(one).parameters) | found
    return {name: parameter for name, parameter in found.items() if parameter.kind not in _REST and name != "self"}


def _initialisers(factory: Callable[..., Any]) -> list[Callable[..., Any]]:
    """List what takes the arguments: a class that passes `**own` on takes those of the class above it too."""
    if not isinstance(factory, type):
        return [factory]
    found: list[Callable[..., Any]] = []
    for one in (vars(base)["__init__"] for base in factory.__mro__ if "__init__" in vars(base)):
        found.append(one)
        if all(parameter.kind is not _REST[1] for parameter in inspect.signature(one).parameters.values()):
            break
    return found


def _check_arguments(factory: Callable[..., Any], given: Mapping[str, Any], at: str) -> None:
    parameters = _parameters(factory)
    hints = _hints(factory)
    for key, value in given.items():
        if key not in parameters:
            owner = getattr(factory, "__name__", str(factory))
            raise ConfigError(f"{_join(at, key)} is no key of {owner}", suggest(key, parameters))
        if key in hints and not _fits(value, hints[key]):
            wanted = _describe(hints[key])
            raise ConfigError(f"{_join(at, key)} is {value!r}", f"give {wanted}")


def _check_missing(factory: Callable[..., Any], given: typing.AbstractSet[str], at: str) -> None:
    for name, parameter in _parameters(factory).items():
        if parameter.default is parameter.empty and name not in given:
            owner = getattr(factory, "__name__", str(factory))
            raise ConfigError(f"{_join(at, name)} is missing", f"{owner} needs it: set {_join(at, name)}=...")


def _hints(factory: Callable[..., Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in _initialisers(factory):
        try:
            found = typing.get_type_hints(one) | found
        except (NameError, TypeError, AttributeError):  # annotations that only a type checker can read
            continue
    return found


def _fits(value: Any, hint: Any) -> bool:
    """Say whether a plain config value fits a plain annotation; annotations of other kinds fit anything."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (str, bool, types.NoneType):
        return isinstance(value, hint)
    if origin in (list, Sequence, tuple) or hint in (list, tuple):
        inner = [option for option in typing.get_args(hint) if option is not ...]
        alike = len(inner) == 1
        return isinstance(value, (list, tuple)) and (not alike or all(_fits(item, inner[0]) for item in value))
    return True


def _describe(hint: Any) -> str:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(option) for option in typing.get_args(hint))
    if origin is typing.Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(hint)))
    if origin in (list, Sequence, tuple) and typing.get_args(hint):
        return f"a list, each {_describe(typing.get_args(hint)[0])}"
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))

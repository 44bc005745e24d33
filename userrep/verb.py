"""A verb: a function whose arguments become a command of the line, and what was typed a request."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from userrep import command
from userrep.arguments import COMMON
from userrep.config import flag_overrides
from userrep.errors import UsageError
from userrep.stages.request import Request

_SUGAR = ("dataset", "model", "method", "task", "seed")


@dataclass(frozen=True)
class Ask:
    """What a verb's own arguments add to the request."""

    flags: dict[str, Any] = field(default_factory=dict)  # folded into the overrides
    base: Path | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def register(app: typer.Typer, name: str, *common: str) -> Callable[[Callable[..., Ask]], Callable[..., Ask]]:
    """Register a function as a verb of `app`: its own parameters, then the common ones named."""

    def decorate(ask: Callable[..., Ask]) -> Callable[..., Ask]:
        own = inspect.signature(ask).parameters

        def run(**given: Any) -> None:
            asked = ask(**{key: given.pop(key) for key in own})
            json = given.pop("json")
            command.execute(name, _request(given, asked), json=json)

        shared = [key for key in COMMON if key in common]
        kind = inspect.Parameter.KEYWORD_ONLY
        added = [
            inspect.Parameter(key, kind, default=COMMON[key][1], annotation=COMMON[key][0])
            for key in shared
        ]
        parameters = [*(parameter.replace(kind=kind) for parameter in own.values()), *added]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name, help=inspect.getdoc(ask))(run)
        return ask

    return decorate


def _request(given: dict[str, Any], asked: Ask) -> Request:
    flags = {key: given.pop(key) for key in _SUGAR if key in given}
    overrides = flag_overrides(given.pop("overrides", None) or (), **asked.flags, **flags)
    if given.get("resume") and given.get("fresh"):
        raise UsageError("--resume and --fresh contradict each other", "give one of the two")
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", given.get("device", "auto")):
        raise UsageError(f"--device is {given['device']!r}", "give auto, cpu, cuda or cuda:N")
    base = asked.base or given.pop("base", None)
    return Request(overrides=overrides, base=base, seed=flags.get("seed"), extra=asked.extra, **given)

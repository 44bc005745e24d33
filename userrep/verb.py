"""A verb: a function whose arguments become a command of the line, and what was typed a request."""

import inspect
import re
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, partial
from io import StringIO
from pathlib import Path
from typing import Any

import typer

from userrep import command
from userrep.arguments import COMMON
from userrep.config import flag_overrides
from userrep.errors import UsageError
from userrep.stages.request import Request

_rehearsal: ContextVar[Callable[..., dict[str, Any]] | None] = ContextVar("rehearsal", default=None)
_SUGAR = ("dataset", "model", "method", "task", "seed")


@dataclass(frozen=True)
class Ask:
    """What a verb's own arguments add to the request."""

    flags: dict[str, Any] = field(default_factory=dict)  # folded into the overrides
    base: Path | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def register(
    app: typer.Typer, name: str, *common: str, **settings: Any
) -> Callable[[Callable[..., Ask]], Callable[..., Ask]]:
    """Register a function as a verb of `app`: its own parameters, then the common ones named; `settings`: Typer's."""

    def decorate(ask: Callable[..., Ask]) -> Callable[..., Ask]:
        own = inspect.signature(ask).parameters

        def run(**given: Any) -> Any:
            asked = ask(**{key: given.pop(key) for key in own})
            json, has_dry_run = given.pop("json"), "dry_run" in given
            request = _request(given, asked)
            if (rehearsal := _rehearsal.get()) is not None:
                return rehearsal(name, request, has_dry_run=has_dry_run)
            return command.execute(name, request, json=json)

        shared = [key for key in COMMON if key in common]
        kind = inspect.Parameter.KEYWORD_ONLY
        added = [inspect.Parameter(key, kind, default=COMMON[key][1], annotation=COMMON[key][0]) for key in shared]
        parameters = [*(parameter.replace(kind=kind) for parameter in own.values()), *added]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name, help=inspect.getdoc(ask), **settings)(run)
        return ask

    return decorate


def call(app: typer.Typer, words: Sequence[str]) -> Any:
    """Run a command line of `app`, whose commands are all there, and return what it answers."""
    return _built(app)(list(words), prog_name="userrep", standalone_mode=False)


@cache
def _built(app: typer.Typer) -> Callable[..., Any]:
    """Build the commands once: a sweep rehearses hundreds of lines."""
    return typer.main.get_command(app)


def rehearse(app: typer.Typer, words: Sequence[str], *, base_is_there: bool = True) -> dict[str, Any]:
    """Check a command line of `app` without doing it; return what its dry run would answer, as far as there is one.

    Raises:
        UserRepError: it is no command, or one that cannot work.
    """
    token = _rehearsal.set(partial(command.rehearse, base_is_there=base_is_there))
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            answer = call(app, words)
    except Exception as error:
        raise command.explained(error) from error
    finally:
        _rehearsal.reset(token)
    if not isinstance(answer, dict):  # --help, or no verb at all
        raise UsageError(f"{' '.join(words) or 'nothing'} is no command with a verb", "write the verb first")
    return answer


def _request(given: dict[str, Any], asked: Ask) -> Request:
    flags = {key: given.pop(key) for key in _SUGAR if key in given}
    overrides = flag_overrides(given.pop("overrides", None) or (), **asked.flags, **flags)
    if given.get("resume") and given.get("fresh"):
        raise UsageError("--resume and --fresh contradict each other", "give one of the two")
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", given.get("device", "auto")):
        raise UsageError(f"--device is {given['device']!r}", "give auto, cpu, cuda or cuda:N")
    base = asked.base or given.pop("base", None)
    return Request(overrides=overrides, base=base, seed=flags.get("seed"), extra=asked.extra, **given)

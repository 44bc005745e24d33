"""What surrounds every command: its stage, its answer, its errors and its exit code."""

import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from types import FrameType, ModuleType
from typing import Any

import typer

from userrep import console, team
from userrep.errors import DataError, Interrupted, UsageError, UserRepError
from userrep.files import to_yaml
from userrep.groups import GROUPS, VERBS, with_own
from userrep.packages import installing
from userrep.stages.request import Request

DEBUG = "USERREP_DEBUG"
_ParserError = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


class InternalError(UserRepError):
    """A fault of ours."""

    kind = "internal"


class _Terminated(KeyboardInterrupt):
    """SIGTERM, raised where Ctrl-C would be."""


def execute(verb: str, request: Request, *, json: bool) -> int:
    """Run the stage of `verb` and give its answer; with --dry-run, show what it would do.

    Returns the exit code: 0, or what the answer has as `exit_code`, which is told by it alone.
    """
    console.use_json(json)
    began = time.monotonic()
    with with_own(request.data_dir / "conf"):
        answer = {"verb": verb, "run": None, **_stage(verb).run(request)}
    code = int(answer.pop("exit_code", 0))
    if request.dry_run:
        answer["dry_run"] = True
    if json:
        console.emit_json({**answer, "seconds": round(time.monotonic() - began, 3)})
    elif request.dry_run:
        _show_plan(answer)
    return code


def rehearse(verb: str, request: Request, *, has_dry_run: bool, base_is_there: bool) -> dict[str, Any]:
    """Return what --dry-run would answer; `composed` in place of `config` where the base is still to be made.

    Raises:
        UserRepError: the command cannot work.
    """
    with with_own(request.data_dir / "conf"):
        if has_dry_run and base_is_there:
            return {"verb": verb, **_stage(verb).run(replace(request, dry_run=True))}
        return {"verb": verb, "composed": _compose_alone(verb, request)} if has_dry_run else {"verb": verb}


def _compose_alone(verb: str, request: Request) -> dict[str, Any]:
    """Compose a command as far as that goes without its base: what it says of the base's own is left unchecked."""
    from userrep.config import compose

    uses = (*VERBS[verb].uses, "experiment")
    roots = {text: text.lstrip("+~").partition("=")[0].partition(".")[0] for text in request.overrides}
    beyond = (*(group for group in GROUPS if group not in uses), "tasks", "chain")
    return compose(verb, [text for text, root in roots.items() if root not in beyond], request.config_dir)


def _stage(verb: str) -> ModuleType:
    name = "userrep.stages." + {"import": "import_"}.get(verb, verb)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise UsageError(f"this version cannot {verb} yet", "see userrep --help for what it can do") from error


def _show_plan(answer: dict[str, Any]) -> None:
    if "config" in answer:
        console.note(to_yaml(answer["config"]).rstrip())
    if answer.get("run"):
        console.note(f"# the run would go to {answer['run']}")
    console.note("# nothing was done: --dry-run")


def conduct(work: Callable[[], Any], *, json: bool) -> int:
    """Do `work`; turn whatever goes wrong into one line of cause, one of remedy, and an exit code."""
    console.use_json(json)
    console.be_quiet(team.follows())
    with _terminable():
        try:
            done = work()
            return done if isinstance(done, int) else 0
        except (Exception, KeyboardInterrupt) as error:
            if isinstance(error, team.Handed):
                return error.exit_code
            told = explained(error)
            if team.follows() and isinstance(error, team.TeammateLost):
                return told.exit_code
            if os.environ.get(DEBUG):
                console.warn(traceback.format_exc())
            console.show_error(told)
            return told.exit_code
        finally:
            console.flush()


def explained(error: BaseException) -> UserRepError:
    """Return what a user should hear about `error`."""
    if isinstance(error, UserRepError):
        return error
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return Interrupted(signal.SIGTERM if isinstance(error, _Terminated) else signal.SIGINT)
    if isinstance(error, _ParserError):
        return _misused(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return UsageError(f"out of memory: {_brief(error)}", "lower trainer.batch_size or protocol.history")
    if isinstance(error, ModuleNotFoundError) and (missing := str(error.name).partition(".")[0]) != "userrep":
        return UsageError(f"this needs the package {missing}, which is not installed", installing(missing))
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return DataError(f"{error.strerror}{where}", "check path, permission and free space")
    cause = f"internal error: {type(error).__name__}: {_brief(error)}"
    return InternalError(cause, f"run again with {DEBUG}=1 to see where, and report it")


def _misused(error: BaseException) -> UsageError:
    message = getattr(error, "format_message", lambda: str(error))()
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "userrep"
    return UsageError(message, f"{path} --help")


def _brief(error: BaseException) -> str:
    return (str(error).strip() or "no message").splitlines()[0]


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM unwind as Ctrl-C does, so that locks and temporary files are cleaned up."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise _Terminated

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

"""Resume: which earlier run a command goes on with."""

import os
import shlex
from typing import Any

from userrep.build import check
from userrep.errors import UsageError
from userrep.run import Run, list_runs, open_run
from userrep.run.record import HOW
from userrep.stages.inherit import held_at, read_value
from userrep.stages.request import Request


def to_go_on(run: Run) -> str:
    """Return what to type to go on with an unfinished run."""
    if run.verb not in ("pretrain", "transfer", "prune"):
        return "give the command that made it again: it goes on"
    parent = run.record.get("parent")
    base = [os.path.normpath(run.path / parent["path"])] if run.verb == "prune" and parent else []
    return shlex.join(["userrep", run.verb, *base, "--resume", "--run", str(run.path)])


def resumed(request: Request, verb: str) -> Run | None:
    """Return the run that `--resume` means, its config then standing in for overrides; None without the flag.

    It is the one that `--run` names, or else the newest unfinished run of the verb.

    Raises UsageError where there is none.
    """
    if not request.resume:
        return None
    if request.run is not None:
        return open_run(request.run)
    unfinished = [run for run in list_runs(request.runs_dir) if run.verb == verb and not run.finished]
    if not unfinished:
        raise UsageError(
            f"there is no unfinished {verb} run below {request.runs_dir}", "leave --resume out to begin one"
        )
    return unfinished[-1]


def gone_on_with(run: Run, request: Request) -> dict[str, Any]:
    """Return the config of a run to go on with: its own, but for how it is trained (`run.record.HOW`).

    Raises UsageError for an override that would make another run of it.
    """
    config = run.config
    for text in request.overrides:
        key, _, value = text.partition("=")
        path = key.lstrip("+~").split(".")
        if path[0] == "trainer" and path[-1] in HOW:
            config = config | {"trainer": config["trainer"] | {path[-1]: read_value(value)}}
        elif read_value(value) != (held := held_at(run, path)):
            where = ".".join(path)
            raise UsageError(
                f"{text}, but {run.path} was begun with {where}={held}",
                "leave it out to go on, or begin another run: without --resume, with another --run",
            )
    if "trainer" in config:
        check(config["trainer"], "trainer")
    return config

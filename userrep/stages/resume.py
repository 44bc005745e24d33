"""Resume: which earlier run a command goes on with."""

from userrep.errors import UsageError
from userrep.run import Run, list_runs, open_run
from userrep.stages.request import Request


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

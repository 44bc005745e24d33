"""`userrep evaluate`: measure runs on test or validation cases, and keep what was found in each run."""

import shutil
from pathlib import Path
from typing import Any

from userrep import console
from userrep.build import build
from userrep.errors import UsageError
from userrep.evaluation.per_user import stored
from userrep.files import replacing
from userrep.run import Run, open_run
from userrep.sequences.store import open_prepared
from userrep.stages.report import FILES, make_report, read_report, save_report, show_report, show_reports
from userrep.stages.request import Request
from userrep.stages.resume import to_go_on

VERB = "evaluate"


def run(request: Request) -> dict[str, Any]:
    """Evaluate the runs of `extra["runs"]` on `extra["split"]`: test (the default) or valid.

    What a run has been evaluated on already is shown again, unless `--fresh`. `extra["export"]` names a folder
    for copies; with several runs each gets a folder of its own name in it. With `extra["tasks"]` the one run answers
    for tasks of its chain, and `extra["export"]` gets a plain run of each.

    Raises:
        UsageError: a path is no run, or the run is not finished.
    """
    split, export = request.extra.get("split") or "test", request.extra.get("export")
    runs = [open_run(path) for path in request.extra["runs"]]
    if request.extra.get("tasks") is not None:
        return _tasks(runs, request.extra["tasks"], split, request)
    answers, reports = [], {}
    for found in runs:
        if found.verb != "baseline" and not request.fresh and read_report(found, split) is not None:
            console.note(f"{found.path} was evaluated before; --fresh evaluates it again")
        report = reports[found.path] = evaluate_run(found, split, request)
        if len(runs) == 1:
            show_report(found.path, report)
        if export is not None:
            _export(found, split, Path(export) if len(runs) == 1 else Path(export) / found.path.name)
        kept = {key: report[key] for key in ("split", "users", "metrics", "intervals", "slices")}
        answers.append({"run": str(found.path), **kept})
    if len(runs) > 1:
        show_reports(reports)
    return answers[0] if len(answers) == 1 else {"run": None, "split": split, "runs": answers}


def evaluate_run(source: Run, split: str, request: Request) -> dict[str, Any]:
    """Return the report of a run, from its folder where it is there."""
    if not source.finished:
        raise UsageError(f"{source.path} is not finished", to_go_on(source))
    kept = read_report(source, split)
    own = source.verb == "baseline"  # its results were kept when it was made
    if kept is not None and (own or not request.fresh):
        return kept
    if own:
        raise UsageError(f"{source.path} lost its results", "make it again: userrep baseline ... --fresh")
    return _measure(source, split, request)


def _measure(source: Run, split: str, request: Request) -> dict[str, Any]:
    from userrep.stages.restore import restore
    from userrep.stages.route_reading import tuned_slices
    from userrep.stages.training import choose_device

    data = open_prepared(request.data_dir, source.config["dataset"])
    encoder, objective = restore(source, data, choose_device(request.device))
    protocol = build(source.config["protocol"], at="protocol")
    result = objective.evaluate(encoder, data, protocol, split)
    more = tuned_slices(result, encoder, objective, data, protocol, split)
    report = make_report(result, objective, data, protocol, split, source.weights_hash, more)
    save_report(source, report, result, data)
    return report


def _tasks(runs: list[Run], asked: str, split: str, request: Request) -> dict[str, Any]:
    from userrep.stages.chain_report import evaluate_chain

    if len(runs) > 1:
        raise UsageError(f"--tasks reads one chain, and {len(runs)} runs are named", "name its newest run alone")
    if not runs[0].finished:
        raise UsageError(f"{runs[0].path} is not finished", to_go_on(runs[0]))
    return evaluate_chain(runs[0], asked, split, request)


def _export(source: Run, split: str, folder: Path) -> None:
    paths = [stored(source.path / name) for name in FILES[split]]
    for path in paths:
        with replacing(folder / path.name) as temporary:
            shutil.copyfile(path, temporary)
    console.note(f"copied to {folder}: {', '.join(path.name for path in paths)}")

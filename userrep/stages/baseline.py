"""`userrep baseline`: a simple predictor under the same protocol, written as an ordinary run."""

from typing import Any

from userrep import console
from userrep.baselines.baseline import Baseline
from userrep.build import build
from userrep.config import compose
from userrep.errors import UsageError, suggest
from userrep.evaluation.results import Result
from userrep.groups import choices
from userrep.objectives.objective import Objective
from userrep.run import Run, Session, default_path, writing
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared, open_prepared
from userrep.stages.report import make_report, read_report, save_report, show_report
from userrep.stages.request import Request
from userrep.stages.resume import resumed
from userrep.stages.training import conditions

VERB = "baseline"


def run(request: Request) -> dict[str, Any]:
    """Choose the baseline's settings on validation, evaluate it on test, write the run.

    Raises:
        UsageError: no baseline was named, it does not fit the task, or it needs a package that is not there.
    """
    earlier = resumed(request, VERB)
    config = earlier.config if earlier and not request.overrides else plan(request)
    path = earlier.path if earlier else request.run or default_path(request.runs_dir, VERB, config)
    if request.dry_run:
        return {"run": str(path), "config": config}
    names = config["choices"]
    console.note(f"baseline {names['baseline']}, task {names['task']}, data set {config['dataset']['name']}")
    data = open_prepared(request.data_dir, config["dataset"])
    with writing(path, verb=VERB, config=config, fresh=request.fresh) as session:
        if not session.finished_before:
            _make(session, config, data)
        made = session.run
    report = read_report(made, "test")
    if report is None:
        raise UsageError(f"{path} lost its results", "make it again with --fresh")
    show_report(path, report)
    found = {key: report[key] for key in ("split", "users", "metrics")}
    trials = len(made.record["trials"])
    return {"run": str(path), **names, **found, "chosen": made.record["chosen"], "trials": trials}


def plan(request: Request) -> dict[str, Any]:
    """Compose the config; where no task was given, the data set's first that this kind of baseline is for."""
    config = compose(VERB, request.overrides, request.config_dir)
    if config["baseline"] is None:
        raise UsageError("no baseline was named", suggest("", choices("baseline", request.config_dir)))
    if config["task"] is not None:
        return config
    kind = build(config["baseline"], at="baseline").kind
    for name in config["dataset"]["tasks"]:
        found = compose(VERB, (*request.overrides, f"task={name}"), request.config_dir)
        if build(found["task"], at="task").kind == kind:
            return found
    raise UsageError(f"{config['dataset']['name']} has no {kind} task", "name a task with task=...")


def _make(session: Session, config: dict[str, Any], data: Prepared) -> None:
    """Fit, predict and keep both roles' results; the run is finished last."""
    baseline: Baseline = build(config["baseline"], at="baseline")
    task: Objective = build(config["task"], at="task")
    protocol: Protocol = build(config["protocol"], at="protocol")
    tested = baseline.fit_predict(data, protocol, task, "test", config["seed"])
    chosen, validated = baseline.chosen, baseline.validated
    assert chosen is not None
    assert validated is not None
    _keep(session.run, validated, "valid", data, protocol, task)
    _keep(session.run, tested, "test", data, protocol, task)
    session.finish(
        **conditions(data, protocol, task.splits, task.task_name),
        metrics=chosen.metrics,
        chosen=chosen.settings,
        trials=[{"settings": trial.settings, task.metric: trial.metrics[task.metric]} for trial in baseline.trials],
    )


def _keep(made: Run, result: Result, split: str, data: Prepared, protocol: Protocol, task: Objective) -> None:
    save_report(made, make_report(result, task, data, protocol, split, made.weights_hash), result, data)

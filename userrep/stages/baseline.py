"""`userrep baseline`: a simple predictor under the same protocol, written as an ordinary run."""

from collections.abc import Sequence
from typing import Any

from userrep import console
from userrep.baselines.baseline import Baseline
from userrep.baselines.from_base import FromBase
from userrep.build import build
from userrep.config import compose
from userrep.errors import UsageError, suggest
from userrep.evaluation.results import Result
from userrep.groups import choices
from userrep.objectives.objective import Objective
from userrep.run import Run, Session, default_path, newest_run, open_run, writing
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared, open_prepared
from userrep.stages.inherit import check_source, groups_given, origins, own_overrides, protocol_of
from userrep.stages.report import make_report, read_report, save_report, show_report
from userrep.stages.request import Request
from userrep.stages.restore import check_begun, check_data, check_trained, restore
from userrep.stages.resume import gone_on_with, resumed
from userrep.stages.seen import check_cut, share_seen
from userrep.stages.training import conditions

VERB = "baseline"


def run(request: Request) -> dict[str, Any]:
    """Choose the baseline's settings on validation, evaluate it on test, write the run.

    Raises:
        UsageError: no baseline was named, it does not fit the task, or it needs a package that is not there.
    """
    earlier = resumed(request, VERB)
    base = _base(request, earlier)
    config = gone_on_with(earlier, request) if earlier else plan(request, base)
    path = earlier.path if earlier else request.run or default_path(request.runs_dir, VERB, config, base)
    told = {} if base is None else {"base": str(base.path)}
    if request.dry_run:
        return {"run": str(path), **told, "config": config}
    names = config["choices"]
    console.note(f"baseline {names['baseline']}, task {names['task']}, data set {config['dataset']['name']}")
    data = open_prepared(request.data_dir, config["dataset"])
    with writing(path, verb=VERB, config=config, parent=base, fresh=request.fresh) as session:
        check_begun(session.run, data)
        if not session.finished_before:
            _make(session, config, data, base)
        made = session.run
    report = read_report(made, "test")
    if report is None:
        raise UsageError(f"{path} lost its results", "make it again with --fresh")
    show_report(path, report)
    found = {key: report[key] for key in ("split", "users", "metrics")}
    trials = len(made.record["trials"])
    return {"run": str(path), **told, **names, **found, "chosen": made.record["chosen"], "trials": trials}


def _base(request: Request, earlier: Run | None) -> Run | None:
    """Return the run named by `--from`, or the newest pre-training, for a baseline that reads one; else None.

    Raises:
        UsageError: a run was named for a baseline that reads none, or the run holds no encoder.
    """
    node = earlier.config["baseline"] if earlier else _named(request)["baseline"]
    needs_base = build(node, at="baseline").needs_base
    if not needs_base and request.base is None:
        return None
    if not needs_base:
        raise UsageError(f"{node['_target_'].rpartition('.')[2]} starts from no run", "leave --from out")
    found = open_run(request.base) if request.base else earlier.parent() if earlier else None
    base = found or newest_run("pretrain", request.runs_dir, groups_given(request, ("dataset",)))
    check_trained(base)
    return base


def _named(request: Request) -> dict[str, Any]:
    config = compose(VERB, request.overrides, request.config_dir)
    if config["baseline"] is None:
        raise UsageError("no baseline was named", suggest("", choices("baseline", request.config_dir)))
    return config


def plan(request: Request, base: Run | None = None) -> dict[str, Any]:
    """Compose the config; where no task was given, the data set's first that this kind of baseline is for.

    Data set, fold and source domain are those of the base, where there is one.
    """
    if base is None:
        return _with_task(_named(request), request.overrides, request)
    overrides = (*own_overrides(request, base, ("dataset",)), *protocol_of(base, request))
    config = compose(VERB, overrides, request.config_dir) | {"dataset": base.config["dataset"]}
    config = _with_task(config, overrides, request) | {"dataset": base.config["dataset"]}
    check_source(base, config["protocol"])
    made = {group: base.config["choices"][group] for group in ("dataset", "model")}
    told = {"choices": config["choices"] | made, "origins": origins(config, request, base, ("dataset",))}
    return config | told


def _with_task(config: dict[str, Any], overrides: Sequence[str], request: Request) -> dict[str, Any]:
    if config["task"] is not None:
        return config
    kind = build(config["baseline"], at="baseline").kind
    for name in config["dataset"]["tasks"]:
        found = compose(VERB, (*overrides, f"task={name}"), request.config_dir)
        if build(found["task"], at="task").kind == kind:
            return found
    raise UsageError(f"{config['dataset']['name']} has no {kind} task", "name a task with task=...")


def _make(session: Session, config: dict[str, Any], data: Prepared, base: Run | None) -> None:
    """Fit, predict and keep both roles' results; the run is finished last."""
    baseline: Baseline = build(config["baseline"], at="baseline")
    task: Objective = build(config["task"], at="task")
    protocol: Protocol = build(config["protocol"], at="protocol")
    known = conditions(data, protocol, task)  # before the work: a split of the wrong kind is refused here
    seen = {} if base is None else _read_base(baseline, base, data, protocol, task)
    tested = baseline.fit_predict(data, protocol, task, "test", config["seed"])
    chosen, validated = baseline.chosen, baseline.validated
    assert chosen is not None
    assert validated is not None
    _keep(session.run, validated, "valid", data, protocol, task)
    _keep(session.run, tested, "test", data, protocol, task)
    session.finish(
        **known,
        **seen,
        metrics=chosen.metrics,
        chosen=chosen.settings,
        trials=[{"settings": trial.settings, task.metric: trial.metrics[task.metric]} for trial in baseline.trials],
    )


def _read_base(baseline: Baseline, base: Run, data: Prepared, protocol: Protocol, task: Objective) -> dict[str, Any]:
    """Give the base's encoder to a baseline; return what the base has seen of the test users."""
    assert isinstance(baseline, FromBase)
    check_data(base, data)
    check_cut(base, protocol, task)
    encoder, _ = restore(base, data)
    baseline.start_from(encoder)
    return {"test_users_seen": share_seen(base, data, protocol, task)}


def _keep(made: Run, result: Result, split: str, data: Prepared, protocol: Protocol, task: Objective) -> None:
    save_report(made, make_report(result, task, data, protocol, split, made.weights_hash), result, data)

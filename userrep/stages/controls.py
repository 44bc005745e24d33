"""The controls of a transfer: the same task by other methods, and the gain over training from scratch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from userrep import console
from userrep.config import choices, compose
from userrep.console import Figure
from userrep.errors import Interrupted, UsageError, UserRepError, suggest
from userrep.evaluation.metrics import lower_is_better
from userrep.evaluation.per_user import read_per_user
from userrep.evaluation.significance import Comparison, Paired, compare, pair
from userrep.run import Run, config_hash, default_path, list_runs, open_run
from userrep.stages.evaluate import evaluate_run
from userrep.stages.headline import HEADLINES
from userrep.stages.report import FILES
from userrep.stages.request import Request
from userrep.stages.served import check_serves
from userrep.stages.task_table import interval_text

VERB, SPLIT, REFERENCE = "transfer", "valid", "scratch"

Make = Callable[[Request, dict[str, Any], Path], Run]


@dataclass(frozen=True)
class Control:
    """A method that is run beside another: its config, where its run is or will be, whether it is there already."""

    name: str
    config: dict[str, Any]
    path: Path
    cached: bool


def plan(names: Sequence[str], config: dict[str, Any], base: Run, path: Path, request: Request) -> list[Control]:
    """Return the controls of the run of `config` at `path`: all is the same but the method, which is as its yaml says.

    A finished run with the same config, below the runs folder or beside the run, stands for the control. One that is
    not there goes beside a run that was named, `<run>-<control>`, or else where a bare command would put it.

    Raises:
        UsageError: a control is no method, or no method of a transfer.
    """
    planned = []
    for name in dict.fromkeys(names):
        known = choices("method", request.config_dir)
        if name not in known:
            raise UsageError(f"there is no method {name!r} to control by", suggest(name, known))
        own = _with_method(config, name, request)
        check_serves(own, VERB, base, request)
        wanted = config_hash(VERB, own, base)
        if wanted == config_hash(VERB, config, base):
            console.note(f"this run is the control {name} itself")
            continue
        beside = path.with_name(f"{path.name}-{name}")
        place = beside if request.run is not None else default_path(request.runs_dir, VERB, own, base)
        found = next(_finished(wanted, (request.runs_dir, path.parent)), None)
        planned.append(Control(name, own, found.path if found else place, found is not None))
    return planned


def _with_method(config: dict[str, Any], name: str, request: Request) -> dict[str, Any]:
    method = compose(VERB, [f"method={name}"], request.config_dir)["method"]
    origins = {key: by for key, by in config.get("origins", {}).items() if key.partition(".")[0] != "method"}
    chosen = config["choices"] | {"method": name}
    return config | {"method": method, "origins": origins | {"method": "--controls"}, "choices": chosen}


def _finished(wanted: str, folders: Sequence[Path]) -> Iterator[Run]:
    for folder in folders:
        yield from (run for run in list_runs(folder) if run.finished and run.record["config_hash"] == wanted)


def hold(made: Run, controls: Sequence[Control], make: Make, request: Request) -> dict[str, Any]:
    """Make the controls that are not there, measure all on validation cases, and show what the method gains.

    A control that fails is reported and left out; the run itself is finished and stays. Test cases are not read.
    """
    runs, failed = {made.choices["method"]: made}, {}
    evaluate_run(made, SPLIT, replace(request, fresh=False))
    for control in controls:
        try:
            runs[control.name] = _held(control, make, request)
        except Interrupted:
            raise
        except (UserRepError, RuntimeError, MemoryError) as error:  # torch is out of memory by a RuntimeError
            failed[control.name] = _told(error)
            told = "; try: ".join(filter(None, (failed[control.name]["message"], failed[control.name]["hint"])))
            console.warn(f"control {control.name} failed: {told}")
    answer = {"split": SPLIT, "failed": failed}
    if len(runs) == 1:
        return answer | {"users": 0, "reference": None, "gain": None, "arms": []}
    names = list(runs)
    reference = names.index(REFERENCE) if REFERENCE in runs else 1
    paired = pair([{0: result} for result in read_per_user([run.path / FILES[SPLIT][1] for run in runs.values()])])
    found = [compare(paired, metric, reference) for metric in _metrics(made, paired)]
    _show(names, reference, paired, found)
    cached = {control.name for control in controls if control.cached}
    arms = [_arm(name, run, index, found, name in cached) for index, (name, run) in enumerate(runs.items())]
    gain = arms[0]["metrics"] if names[reference] == REFERENCE else None
    return answer | {"users": len(paired.users[0]), "reference": names[reference], "gain": gain, "arms": arms}


def _held(control: Control, make: Make, request: Request) -> Run:
    """Return the finished run of a control, evaluated on validation cases."""
    if control.cached:
        console.note(f"control {control.name}: {control.path} is there")
        run = open_run(control.path)
    else:
        console.note(f"control {control.name}: {control.path}")
        run = make(request, control.config, control.path)
    evaluate_run(run, SPLIT, replace(request, fresh=False))
    return run


def _told(error: Exception) -> dict[str, str]:
    if isinstance(error, UserRepError):
        return {"kind": error.kind, "message": error.message, "hint": error.hint}
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return {"kind": "internal", "message": lines[0], "hint": ""}


def _metrics(made: Run, paired: Paired) -> list[str]:
    """Return the headline metric, and the one that epochs were chosen by."""
    known = set.intersection(*(set(row[0].metrics()) for row in paired.arms))
    first = next(name for name in HEADLINES if name in known)
    chosen = (made.config.get("task") or {}).get("metric")
    return [first, *([chosen] if chosen in known and chosen != first else [])]


def _show(names: Sequence[str], reference: int, paired: Paired, found: Sequence[Comparison]) -> None:
    gain = "gain" if names[reference] == REFERENCE else "difference"
    rows: list[list[Any]] = []
    for comparison in found:
        for index, (name, contrast) in enumerate(zip(names, comparison.contrasts, strict=True)):
            row = [comparison.metric if index == 0 else "", name, comparison.values[index]]
            if contrast is None:
                rows.append([*row, Figure("reference"), None, None])
                continue
            difference = Figure(f"{contrast.difference:+.4f}", bold=contrast.significant)
            rows.append([*row, difference, Figure(interval_text(contrast.interval, signed=True)), contrast.p_holm])
    lower = [comparison.metric for comparison in found if lower_is_better(comparison.metric)]
    title = f"transfer {gain} over {names[reference]}, {len(paired.users[0]):,} validation users"
    below = "p after Holm's correction, bold below 0.05" + "".join(f"; less {name} is better" for name in lower)
    console.table(title, ["metric", "method", "value", "differs by", "95 %", "p"], rows, below)


def _arm(name: str, run: Run, index: int, found: Sequence[Comparison], cached: bool) -> dict[str, Any]:
    metrics = {comparison.metric: comparison.record(index) for comparison in found}
    effort = {key: run.record.get(key) for key in ("trainable", "delta_bytes", "updates", "seconds")}
    return {"method": name, "run": str(run.path), "cached": cached, **effort, "metrics": metrics}

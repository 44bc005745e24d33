"""`userrep routes`: which blocks the users of a run pass by the tuned side, as its policy decides."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from userrep import console
from userrep.build import build
from userrep.errors import DataError, UsageError
from userrep.evaluation.slices import buckets
from userrep.files import explaining_write_errors, replacing
from userrep.methods.route_watch import summary
from userrep.methods.routed import routed
from userrep.objectives.objective import Objective
from userrep.objectives.parts import Parts
from userrep.run import Run, open_run
from userrep.run.record import LOG
from userrep.sequences.store import Prepared, open_prepared
from userrep.stages import pictures, route_pictures
from userrep.stages.people import rows_of
from userrep.stages.request import Request
from userrep.stages.restore import restore
from userrep.stages.resume import to_go_on
from userrep.stages.route_reading import Routes, read_split
from userrep.stages.training import choose_device
from userrep.training.journal import Journal

VERB = "routes"
APART = ("history", "earlier_targets")  # what is known of a case before its answer
FREQUENT = 8  # routes that are shown
REMEDY = "give a run of userrep transfer --method uaf"


def run(request: Request) -> dict[str, Any]:
    """Show the routes of the cases of `extra["split"]` of the run `extra["source"]`.

    Where `extra["out"]` names a folder, they are written there with pictures of them, users sorted by `extra["sort"]`.

    Raises:
        UsageError: nobody chooses in this run, cases have nothing to be sorted by, or matplotlib is missing.
        DataError: the split has no cases, or the folder cannot be written.
    """
    split, sort, out = (request.extra[name] for name in ("split", "sort", "out"))
    if out is not None:
        pictures.check()
    source = _checked(open_run(request.extra["source"]))
    data = open_prepared(request.data_dir, source.config["dataset"])
    routes, objective = _read(source, data, split, request)
    known = ("usage", *(name for name in APART if name in routes.told))
    if sort not in known:
        remedy = f"choose --sort from: {', '.join(known)}"
        raise UsageError(f"task {objective.task_name} tells no {sort} to sort users by", remedy)
    answer = _answer(source, split, routes, objective)
    _show(answer, routes)
    written = [] if out is None else _write(Path(out), source, data, routes, split, sort)
    if written:
        console.note(f"written to {out}: {', '.join(Path(path).name for path in written)}")
    return {**answer, "out": None if out is None else str(out), "written": written}


def _checked(source: Run) -> Run:
    """Return a run whose encoder can be restored; UsageError for any other."""
    if not source.finished:
        raise UsageError(f"run {source.path} is not finished", to_go_on(source))
    if "model" not in source.config:
        raise UsageError(f"run {source.path} is a {source.verb} run and holds no encoder", REMEDY)
    return source


def _read(source: Run, data: Prepared, split: str, request: Request) -> tuple[Routes, Objective]:
    encoder, objective = restore(source, data, choose_device(request.device))
    if routed(encoder) is None:
        raise UsageError(f"run {source.path} passes all users through the same blocks", REMEDY)
    if isinstance(objective.leader, Parts):
        raise UsageError("several tasks are learned together, each with cases of its own", "give a run of one task")
    protocol = build(source.config["protocol"], at="protocol")
    if len(objective.cases(data, protocol, split)) == 0:
        raise DataError(f"{data.name} has no case of --split {split}", "give another --split")
    return read_split(encoder, objective, data, protocol, split), objective


def _answer(source: Run, split: str, routes: Routes, objective: Objective) -> dict[str, Any]:
    """Return what is told of the routes as plain values."""
    found = summary(routes.route, routes.chance)
    blocks = enumerate(zip(routes.route.mean(axis=0), routes.chance.mean(axis=0), strict=True), start=1)
    frequent = islice(routes.counts.items(), FREQUENT)
    return {
        "run": str(source.path), "split": split, "users": len(np.unique(routes.rows)), "cases": len(routes),
        "usage": found["usage"], "entropy": found["entropy"], "routes": len(routes.counts),
        "collapsed": len(routes.counts) == 1,
        "blocks": [{"block": each, "usage": float(usage), "chance": float(chance)} for each, (usage, chance) in blocks],
        "frequent": [{"route": name, "cases": count, "share": count / len(routes)} for name, count in frequent],
        "slices": list(_slices(routes, objective)),
    }  # fmt: skip


def _slices(routes: Routes, objective: Objective) -> Iterator[dict[str, Any]]:
    """Yield the usage by buckets of what is known of a case before its answer."""
    for by in (name for name in APART if name in routes.told):
        for bucket in buckets(routes.told[by], starts=objective.leader.slice_starts.get(by)):
            inside = {"by": by, "low": bucket.low, "high": bucket.high, "cases": int(bucket.members.sum())}
            yield inside | {"usage": float(routes.usage[bucket.members].mean())}


def _show(answer: dict[str, Any], routes: Routes) -> None:
    title = f"{answer['run']}: {answer['cases']:,} cases of {answer['users']:,} {answer['split']} users"
    rows = [list(block.values()) for block in answer["blocks"]]
    told = (
        f"all blocks: usage {answer['usage']:.4f}, entropy {answer['entropy']:.4f} bits, "
        f"{answer['routes']:,} of {2 ** len(rows):,} routes"
    )
    console.table(title, ["block", "usage", "mean chance"], rows, told)
    rows = [list(route.values()) for route in answer["frequent"]]
    told = collapse(routes) if answer["collapsed"] else ""
    console.table("most frequent routes, 1 for the tuned side", ["route", "cases", "share"], rows, told)
    rows = [list(piece.values()) for piece in answer["slices"]]
    console.table("usage by slice", ["slice", "from", "to", "cases", "usage"], rows)


def collapse(routes: Routes) -> str:
    """Say that all cases take one route and, where they take shares of a side, by how much these differ."""
    apart = float(np.ptp(routes.route, axis=0).max())
    more = f"; shares of a side differ by {apart:.4f} at most" if apart else ""
    return f"the policy has collapsed to one route: all {len(routes):,} cases take {next(iter(routes.counts))}{more}"


def _write(folder: Path, source: Run, data: Prepared, routes: Routes, split: str, sort: str) -> list[str]:
    """Write the table and the pictures to a folder, each whole or not at all; return their paths."""
    records = _records(source)
    with explaining_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "routes.parquet") as temporary:
        _table(data, routes).write_parquet(temporary)
    made = route_pictures.draw(folder, source.path.name, split, routes, sort, records)
    return [str(path) for path in (folder / "routes.parquet", *made)]


def _table(data: Prepared, routes: Routes) -> pl.DataFrame:
    """Return a row a case: whose it is, what is known of it, what it takes of each tuned side, the chance of that."""
    told = {name: routes.told[name] for name in APART if name in routes.told}
    taken = {f"block_{place}": column for place, column in enumerate(routes.route.T, start=1)}
    chance = {f"chance_{place}": column for place, column in enumerate(routes.chance.T, start=1)}
    columns = told | {"usage": routes.usage} | taken | chance
    users = rows_of([data.user_ids[row] for row in routes.rows])
    return users.with_columns(pl.Series(name, column) for name, column in columns.items())


def _records(source: Run) -> list[dict[str, Any]]:
    """Return the log records that tell of routes; of a run that took its policy over from its base, none."""
    path = source.path / LOG
    try:
        found = [record for record in Journal(path).records() if route_pictures.USAGE in record]
    except ValueError as error:
        raise DataError(f"{path} is damaged", "bring it back, or make the run again with --fresh") from error
    if not found:
        console.warn(f"{path} tells of no routes: there is no training.png")
    return found

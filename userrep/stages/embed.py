"""`userrep embed`: the user vectors of a run as a table, for users of the data set, or for new ones by their events."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from userrep import console, progress
from userrep.build import build
from userrep.errors import DataError, UsageError
from userrep.evaluation.ranking import Csr
from userrep.files import replacing_parts
from userrep.objectives.objective import Objective
from userrep.objectives.parts import Parts
from userrep.run import open_run
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared, open_prepared
from userrep.stages.people import People, new_people, rows_of, tell_left_out
from userrep.stages.request import Request
from userrep.stages.restore import restore
from userrep.stages.training import choose_device
from userrep.stages.vectors import Embedder, reader

VERB = "embed"
ALL = "all"


def run(request: Request) -> dict[str, Any]:
    """Write the vectors of the users of `extra["split"]`, or of those of `extra["events"]`, to `extra["out"]`.

    They are read as `extra["readout"]` says, and divided into files of at most `extra["rows_per_file"]` rows.

    Raises:
        UsageError: it is not clear where to or of whom, or the run has no encoder that reads so.
        DataError: there is nobody, or the table cannot be written.
        DivergedError: a vector is not finite.
    """
    split, events, most = (request.extra[name] for name in ("split", "events", "rows_per_file"))
    out = _checked(request.extra["out"])
    if events is not None and split != ALL:
        raise UsageError("--events are of new users, who are in no split", "leave --split or --events out")
    source = open_run(request.extra["source"])
    data = open_prepared(request.data_dir, source.config["dataset"])
    encoder, objective = restore(source, data, choose_device(request.device))
    protocol = build(source.config["protocol"], at="protocol")
    embedder = reader(encoder, protocol, request.extra["readout"])
    inputs = objective.inputs(data, protocol)
    people = _known(data, objective, protocol, split) if events is None else new_people(Path(events), inputs, inputs)
    tell_left_out(people)
    users = rows_of(people.names)
    began = time.monotonic()
    files = _write(out, users, embedder, people.histories, most)
    speed = len(users) / max(time.monotonic() - began, 1e-9)
    answer = {
        "run": str(source.path), "users": users["user"].n_unique(), "width": embedder.width,
        "readout": encoder.readout.spec, "split": split if events is None else None, "out": str(out), "files": files,
        "users_per_second": round(speed, 1), "unknown_items": people.unknown_items,
        "without_items": people.without_items,
    }  # fmt: skip
    console.note(f"{answer['users']:,} user(s), width {embedder.width}, {speed:,.0f} a second")
    console.note(f"written: {out}, {len(users):,} rows" + (f" in {files:,} files" if files > 1 else ""))
    return answer


def _checked(out: Path | None) -> Path:
    """Return where the table goes; UsageError where it cannot, or where it would replace what is no such table."""
    if out is None or out.suffix != ".parquet":
        cause = "it is not said where the vectors go" if out is None else f"--out {out} is no .parquet"
        raise UsageError(cause, "give --out FILE.parquet")
    kept = [file.name for file in out.iterdir() if not file.match("part-*.parquet")] if out.is_dir() else []
    if kept:
        raise UsageError(f"{out} is a folder with other things in it, such as {kept[0]}", "name another --out")
    return out


def _known(data: Prepared, objective: Objective, protocol: Protocol, split: str) -> People:
    """Return the users of the data set who have a history, all of it, or the cases of a role as they are evaluated."""
    inputs = objective.inputs(data, protocol)
    if split == ALL:
        rows = np.flatnonzero(np.diff(inputs.offsets))
        ends = inputs.offsets[rows + 1]
    elif isinstance(objective.leader, Parts):
        raise UsageError("several tasks are learned together, each with cases of its own", "give --split all")
    else:
        cases = objective.cases(data, protocol, split)
        rows, ends = cases.rows, cases.ends
    if len(rows) == 0:
        raise DataError(f"{data.name} has nobody to embed in --split {split}", "give another --split")
    histories = Csr(inputs.items, inputs.offsets[rows], ends)
    return People([data.user_ids[row] for row in rows], histories, histories, [], [])


def _write(out: Path, users: pl.DataFrame, embedder: Embedder, histories: Csr, most: int) -> int:
    """Write the rows of `users` with their vectors, `most` a file; return the number of files."""
    with replacing_parts(out) as folder, progress.working("embedding", len(users), "users") as shown:
        for number, vectors in enumerate(_tables(embedder.blocks(histories), most, shown)):
            part = users.slice(number * most, most).with_columns(pl.Series("vector", vectors))
            part.write_parquet(folder / f"part-{number:05d}.parquet")
    return -(-len(users) // most)


def _tables(blocks: Iterable[np.ndarray], most: int, shown: progress.Progress) -> Iterator[np.ndarray]:
    """Cut a stream of rows into tables of `most` rows; the last has what is left."""
    held: list[np.ndarray] = []
    missing = most
    for block in blocks:
        for piece in np.split(block, range(missing, len(block), most)):
            held.append(piece)
            missing -= len(piece)
            if missing == 0:
                yield np.concatenate(held)
                held, missing = [], most
        shown.advance(len(block))
    if held:
        yield np.concatenate(held)

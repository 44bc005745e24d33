"""`userrep preprocess`: make the raw files of a data set into sequences, splits, a card and an audit."""

from pathlib import Path
from typing import Any

from userrep import console
from userrep.build import build
from userrep.config import compose
from userrep.datasets.dataset import Dataset
from userrep.datasets.raw import raw_path, to_type
from userrep.errors import UsageError
from userrep.files import read_json
from userrep.sequences.audit import read_audit, show_audit
from userrep.sequences.card import show_card
from userrep.sequences.prepare import is_current, prepare, prepare_streaming
from userrep.sequences.store import Prepared, prepared_path
from userrep.sequences.workers import workers_on
from userrep.stages.memory import choose_way
from userrep.stages.own_data import describe, keep, refuse_stray_flags
from userrep.stages.request import Request


def run(request: Request) -> dict[str, Any]:
    """Prepare the data set of the request, or say that it is prepared already.

    `extra`: split_file (a .parquet or .csv file of splits to take in beside the built ones); from_file and what
    goes with it for data of the user's own, see `own_data.describe`; memory (a size) and stream (True, False, None: as
    memory allows), see `memory.choose_way`; on (an engine that does the work by way of the disk).

    Raises:
        DataError: raw files are missing or malformed, the split file does not fit, or the leak audit fails.
    """
    if request.extra.get("from_file"):
        return _own(request)
    refuse_stray_flags(request)
    node = compose("preprocess", request.overrides, request.config_dir)["dataset"]
    return _prepare(request, node)


def _own(request: Request) -> dict[str, Any]:
    """Describe the user's files, prepare them, and write the description last: where it is, the data are good."""
    own = describe(request)
    answer = _prepare(request, own.node)
    if request.dry_run:
        return answer | {"columns": own.columns}
    path = keep(own, request.data_dir)
    name = own.node["name"]
    console.note(f"{name} is described in {path}")
    console.note(f"next: {to_type(f'userrep pretrain dataset={name}', request.data_dir)}")
    return answer | {"columns": own.columns, "yaml": str(path)}


def _prepare(request: Request, node: dict[str, Any]) -> dict[str, Any]:
    dataset: Dataset = build(node, at="dataset")
    raw_dir, path = raw_path(request.data_dir, dataset.name), prepared_path(request.data_dir, node)
    given = request.extra.get("split_file")
    split_file = Path(given) if given else None
    if request.dry_run:
        console.note(f"would prepare {dataset.name} from {raw_dir} into {path}")
        return _answer(dataset.name, path, None)
    if not request.fresh and is_current(path, dataset, raw_dir, split_file):
        prepared = Prepared(path)
        console.note(f"{dataset.name} is already prepared in {path}")
    else:
        prepared = _make(request, dataset, node, path, split_file)
        console.note(f"{dataset.name} is prepared in {path}")
    show_card(read_json(path / "card.json"))
    show_audit(read_audit(path))
    return _answer(dataset.name, path, prepared)


def _make(request: Request, dataset: Dataset, node: dict[str, Any], path: Path, split_file: Path | None) -> Prepared:
    """Prepare in memory or on disk, as the flags and the size of the raw files say."""
    raw_dir = raw_path(request.data_dir, dataset.name)
    engine, stream = request.extra.get("on"), request.extra.get("stream")
    if engine and stream is False:
        raise UsageError("--on works by way of the disk, --no-stream in memory", "give one of the two")
    way = choose_way(dataset, raw_dir, request.extra.get("memory"), True if engine else stream)
    console.note(way.reason)
    if way.streamed is None:
        return prepare(dataset, node, raw_dir, path, split_file)
    workers = workers_on(engine)
    return prepare_streaming(
        way.streamed, node, raw_dir, path, split_file, sizes=way.sizes, workers=workers, fresh=request.fresh
    )


def _answer(name: str, path: Path, prepared: Prepared | None) -> dict[str, Any]:
    answer: dict[str, Any] = {"verb": "preprocess", "run": None, "dataset": name, "path": str(path)}
    if prepared is not None:
        counts = [(entry["items"], entry["events"]) for entry in prepared.meta["domains"]]
        answer |= {"hash": prepared.hash, "users": prepared.num_users}
        answer |= {"items": sum(items for items, _ in counts), "events": sum(events for _, events in counts)}
        answer |= {"splits": {entry["name"]: entry["hash"] for entry in prepared.meta["splits"]}}
        answer |= {"broken": prepared.meta.get("broken", 0)}
    return answer

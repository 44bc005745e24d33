"""`userrep preprocess`: make the raw files of a data set into sequences, splits, a card and an audit."""

from pathlib import Path
from typing import Any

from userrep import console
from userrep.build import build
from userrep.config import compose
from userrep.datasets.dataset import Dataset
from userrep.datasets.raw import raw_path
from userrep.files import read_json
from userrep.sequences.audit import read_audit, show_audit
from userrep.sequences.card import show_card
from userrep.sequences.prepare import is_current, prepare
from userrep.sequences.store import Prepared, prepared_path
from userrep.stages.request import Request


def run(request: Request) -> dict[str, Any]:
    """Prepare the data set of the request, or say that it is prepared already.

    `extra`: split_file (a .parquet or .csv file of splits to take in beside the built ones).

    Raises:
        DataError: raw files are missing or malformed, the split file does not fit, or the leak audit fails.
    """
    node = compose("preprocess", request.overrides, request.config_dir)["dataset"]
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
        prepared = prepare(dataset, node, raw_dir, path, split_file)
        console.note(f"{dataset.name} is prepared in {path}")
    show_card(read_json(path / "card.json"))
    show_audit(read_audit(path))
    return _answer(dataset.name, path, prepared)


def _answer(name: str, path: Path, prepared: Prepared | None) -> dict[str, Any]:
    answer: dict[str, Any] = {"verb": "preprocess", "run": None, "dataset": name, "path": str(path)}
    if prepared is not None:
        counts = [(entry["items"], entry["events"]) for entry in prepared.meta["domains"]]
        answer |= {"hash": prepared.hash, "users": prepared.num_users}
        answer |= {"items": sum(items for items, _ in counts), "events": sum(events for _, events in counts)}
        answer |= {"splits": {entry["name"]: entry["hash"] for entry in prepared.meta["splits"]}}
    return answer

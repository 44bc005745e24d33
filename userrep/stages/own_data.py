"""`userrep preprocess --from-file`: describe events of your own as a data set, found by its name from then on."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from userrep import console
from userrep.config import compose
from userrep.datasets.guess import NAMES, guess_columns, guess_key, guess_text, judge_labels
from userrep.datasets.many_files import event_files
from userrep.datasets.rows import Glance, glance, read_rows
from userrep.datasets.times import guess_unit
from userrep.errors import DataError, UsageError
from userrep.files import plain, read_yaml, replacing
from userrep.groups import conf_dir
from userrep.sequences.store import WORDS
from userrep.stages.request import Request

FOLDER = "conf"  # below the data folder, laid out like the program's own
PATTERN = "gender"  # the task whose other keys a task of an own label takes over
EXAMPLE = 40  # letters of a value that is shown
FLAGS = ("from_file", "name", "users_file", "items_file", "skip_bad", "label", *(f"{role}_col" for role in NAMES))


@dataclass
class Own:
    """A data set made from a user's files: its config node, what was taken for what, the tasks of its labels."""

    node: dict[str, Any]
    columns: dict[str, str | None]
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)


def describe(request: Request) -> Own:
    """Find out what the columns of the files are, show it, and write nothing.

    `extra`: from_file, name, users_file, items_file, skip_bad, label (names), and a COLUMN or "none" for each of
    user_col, item_col, time_col, rating_col, domain_col.

    Raises:
        UsageError: the name cannot be used, or a flag needs --from-file.
        DataError: a file cannot be read, a column is missing, or a label has one class.
    """
    extra, path = request.extra, Path(request.extra["from_file"]).resolve()
    typed = {text.partition("=")[0].lstrip("+") for text in request.overrides}
    if "dataset" in typed:
        raise UsageError("--from-file describes a new data set, dataset= names a known one", "give one of the two")
    name = _name(extra.get("name"), path)
    node = compose("preprocess", ("dataset=table", *request.overrides), request.config_dir)["dataset"]
    seen = glance(event_files(path)[0], node["separator"], node["quote"], node.get("columns") or ())
    given = {role: extra.get(f"{role}_col") or (node[role] if f"dataset.{role}" in typed else None) for role in NAMES}
    columns = guess_columns(seen.rows, given, path)
    node |= {"name": name, "title": f"{name}: {path.name}", "licence": "your own", "path": str(path)} | columns
    node |= {"separator": seen.separator, "skip_bad": bool(extra.get("skip_bad"))}
    if columns["time"] and "dataset.time_unit" not in typed:
        node["time_unit"] = guess_unit(seen.rows[columns["time"]])
    _show_columns(path, node, columns, seen)
    own = Own(node, columns)
    if extra.get("users_file"):
        _add_users(own, Path(extra["users_file"]).resolve(), list(extra.get("label") or ()))
    elif extra.get("label"):
        raise UsageError("--label names a column of the users", "give their file: --users-file FILE")
    if extra.get("items_file"):
        _add_items(own, Path(extra["items_file"]).resolve())
    return own


def refuse_stray_flags(request: Request) -> None:
    """Raise UsageError where a flag that describes own data comes without --from-file."""
    given = [flag for flag in FLAGS if request.extra.get(flag) and flag != "skip_bad"]
    if given:
        flag = given[0].replace("_", "-")
        raise UsageError(f"--{flag} describes data of your own", "add --from-file EVENTS, or leave it out")


def keep(own: Own, data_dir: Path) -> Path:
    """Write the yaml of the data set, and one a label that has no task yet; return that of the data set.

    They lie in `<data_dir>/conf`, where every verb that is given this data folder looks.
    """
    for label, task in own.tasks.items():
        _write(data_dir / FOLDER / "task" / f"{label}.yaml", task)
    path = data_dir / FOLDER / "dataset" / f"{own.node['name']}.yaml"
    before = read_yaml(path).get("path") if path.exists() else None
    if before not in (None, own.node["path"]):
        console.warn(f"{own.node['name']} was {before}, and is {own.node['path']} from now on")
    _write(path, own.node)
    return path


def _write(path: Path, node: Mapping[str, Any]) -> None:
    """Write a node with each value as JSON, which YAML contains: no text in it can be taken for anything else."""
    lines = [f"{key}: {json.dumps(plain(value), ensure_ascii=False)}\n" for key, value in node.items()]
    with replacing(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def _name(given: str | None, path: Path) -> str:
    name = given or re.sub(r"[^\w-]+", "-", path.name.partition(".")[0]).strip("-")
    if not re.fullmatch(r"[A-Za-z][\w-]*", name) or name.lower() in WORDS:
        hint = "give --name with a letter, then letters, digits, '-' and '_'"
        raise UsageError(f"{name!r} cannot name a data set", hint)
    if (conf_dir() / "dataset" / f"{name}.yaml").exists():
        raise UsageError(f"{name} is a data set that userrep knows", "give --name with a name of your own")
    return name


def _show_columns(path: Path, node: Mapping[str, Any], columns: Mapping[str, str | None], seen: Glance) -> None:
    rows = []
    for role, column in columns.items():
        example = seen.rows[column].drop_nulls().head(1).str.head(EXAMPLE).to_list() if column else []
        missing = {"time": "none: the order of the rows counts", "domain": "none: one domain"}.get(role, "none")
        note = f" ({node['time_unit']})" if role == "time" and column else ""
        rows.append((role, f"{column}{note}" if column else missing, *(example or ["-"])))
    console.table(f"Columns of {path.name}", ["taken as", "column", "for example"], rows)
    rest = [column for column in seen.columns if column not in columns.values()]
    if rest:
        console.note(f"left out: {', '.join(rest)}; name a column with --user-col, --item-col, --time-col, ...")


def _add_users(own: Own, path: Path, wanted: list[str]) -> None:
    """Take the labels of a table of users: those named, or all columns that can be one."""
    node = own.node
    seen = glance(path, quote=node["quote"])
    key = guess_key(seen.columns, "user", node["user"], path)
    names = wanted or [column for column in seen.columns if column != key]
    frame, _ = read_rows(path, [key, *names], quote=node["quote"])
    judged = judge_labels(frame, names)
    refused = [label for label in judged if label.reason and (wanted and label.classes < 2)]
    if refused:
        cause = f"{path}: {refused[0].name!r} cannot be a label: {refused[0].reason}"
        raise DataError(cause, "leave it out, or name another with --label COLUMN")
    for label in judged:
        if label.reason and not wanted:
            console.warn(f"{label.name} is no label: {label.reason}; --label {label.name} takes it all the same")
    labels = [label.name for label in judged if wanted or not label.reason]
    if not labels:
        raise DataError(f"no column of {path} can be a label", "name one with --label COLUMN, or leave the file out")
    console.note(f"labels of {path.name}, by {key}: {', '.join(labels)}")
    node |= {"users_path": str(path), "users_key": key, "labels": labels}
    node["tasks"] = [*labels, *(task for task in node["tasks"] if task not in labels)]
    for name in labels:
        _add_task(own, name, path)


def _add_task(own: Own, label: str, path: Path) -> None:
    """Give a label a task of its name, unless there is one already, of just this label."""
    if not re.fullmatch(r"\w[\w-]*", label):
        raise DataError(f"{path}: the column {label!r} cannot name a task", "rename it: letters, digits, '-' and '_'")
    node = read_yaml(conf_dir() / "task" / f"{PATTERN}.yaml") | {"label": label}
    known = conf_dir() / "task" / f"{label}.yaml"
    if not known.exists():
        own.tasks[label] = node
    elif read_yaml(known).get("label") != label:
        raise DataError(f"{path}: {label!r} is the name of another task", "rename the column")


def _add_items(own: Own, path: Path) -> None:
    node = own.node
    seen = glance(path, quote=node["quote"])
    key = guess_key(seen.columns, "item", node["item"], path)
    text = guess_text(seen.columns, key, path)
    console.note(f"texts of {path.name}, by {key}: {text}")
    node |= {"items_path": str(path), "items_key": key, "items_text": text}

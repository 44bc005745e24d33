"""`userrep recommend`: the best items for users of the data set, or for new ones by their events."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from userrep import console, progress
from userrep.build import build
from userrep.errors import UsageError
from userrep.evaluation.ranking import Csr, DotScorer
from userrep.evaluation.tiles import read_histories
from userrep.evaluation.topk import top_items
from userrep.files import replacing
from userrep.models.encoder import Encoder
from userrep.objectives.ranking import Ranking
from userrep.run import open_run
from userrep.sequences.store import Sequences, open_prepared
from userrep.sequences.vocab import PAD, RESERVED
from userrep.stages.people import People, known_people, new_people, tell_left_out
from userrep.stages.request import Request
from userrep.stages.restore import restore
from userrep.stages.training import choose_device

VERB = "recommend"
AT_ONCE = 1024  # users whose vectors are held
SHOWN = 3  # users in a terminal

Lists = tuple[np.ndarray, np.ndarray]


def run(request: Request) -> dict[str, Any]:
    """Rank all items that a user has not met, for the users of `extra["users"]` or of `extra["events"]`.

    The `extra["topk"]` best of each are shown, or written to `extra["out"]`.

    Raises:
        UsageError: not one file of users was given, or the run ranks no items.
        DataError: the file cannot be read, or knows nobody and nothing that the run knows.
    """
    users, events, k = (request.extra[name] for name in ("users", "events", "topk"))
    out = None if request.extra.get("out") is None else Path(request.extra["out"])
    if (users is None) == (events is None):
        raise UsageError("for whom is not clear", "give --users FILE, or for new users --events FILE, and not both")
    if out is not None and out.suffix not in (".parquet", ".csv"):
        raise UsageError(f"--out {out} is neither .parquet nor .csv", "give a name that ends in one of them")
    source = open_run(request.extra["source"])
    data = open_prepared(request.data_dir, source.config["dataset"])
    encoder, restored = restore(source, data, choose_device(request.device))
    objective = restored.leader
    if not isinstance(objective, Ranking):
        raise UsageError(
            f"{source.path} answers {objective.task_name}: it ranks no items",
            "give a pretrain run, or a transfer to a task that ranks items",
        )
    protocol = build(source.config["protocol"], at="protocol")
    inputs, targets = objective.inputs(data, protocol), objective.targets(data, protocol)
    if events is None:
        people = known_people(Path(users), data, inputs, targets)
    else:
        people = new_people(Path(events), inputs, targets)
    most = min(k, targets.vocab_size - RESERVED)  # a list holds no more than all items, whatever was asked
    lists = _lists(encoder, objective, people, most, targets.vocab_size, protocol.history)
    console.note(f"{len(people):,} user(s), {targets.vocab_size - RESERVED:,} items but those that each has met")
    tell_left_out(people)
    if out is None:
        _show(people, lists, targets)
    else:
        _write(out, people, lists, targets)
    answer = {
        "run": str(source.path), "users": len(people), "topk": k, "items": targets.vocab_size - RESERVED,
        "unknown_users": people.unknown_users, "unknown_items": people.unknown_items,
        "without_items": people.without_items, "out": None if out is None else str(out),
    }  # fmt: skip
    return answer | ({} if out else {"recommendations": list(_answers(people, lists, targets))})


def _lists(encoder: Encoder, objective: Ranking, people: People, k: int, vocab_size: int, length: int) -> Lists:
    """Return the best items of all, and their scores: `(N, k)` each."""
    parts, read = [], partial(objective.states_of, encoder)
    with torch.inference_mode(), progress.working("recommending", len(people), "users") as shown:
        table, bias = objective.output(encoder)
        for start in range(0, len(people), AT_ONCE):
            chosen = slice(start, start + AT_ONCE)
            histories = Csr(people.histories.items, people.histories.starts[chosen], people.histories.ends[chosen])
            seen = Csr(people.seen.items, people.seen.starts[chosen], people.seen.ends[chosen])
            count = len(histories.ends)
            scorer = DotScorer(read_histories(read, histories, length, table.device), table, bias)
            parts.append(top_items(scorer, count, k, seen, vocab_size))
            shown.advance(count)
    ids, scores = zip(*parts, strict=True)
    return np.concatenate(ids), np.concatenate(scores)


def _rows(user: int, lists: Lists, targets: Sequences) -> Iterator[tuple[int, str, str | None, float]]:
    """Yield rank, raw id, text and score of a user's items."""
    ids, scores = lists
    for rank, (item, score) in enumerate(zip(ids[user].tolist(), scores[user].tolist(), strict=True), 1):
        if item != PAD:
            yield rank, targets.item_ids[item - RESERVED], targets.texts[item - RESERVED], score


def _answers(people: People, lists: Lists, targets: Sequences) -> Iterator[dict[str, Any]]:
    for index, name in enumerate(people.names):
        rows = _rows(index, lists, targets)
        yield {"user": name, "items": [{"item": item, "text": text, "score": score} for _, item, text, score in rows]}


def _show(people: People, lists: Lists, targets: Sequences) -> None:
    """Print the lists of the first users."""
    for index, name in enumerate(people.names[:SHOWN]):
        rows = [list(row) for row in _rows(index, lists, targets)]
        texts = any(text not in (None, item) for _, item, text, _ in rows)
        columns = ["rank", "item", *(["text"] if texts else []), "score"]
        console.table(f"user {name}", columns, [row if texts else [*row[:2], row[3]] for row in rows])
    if len(people) > SHOWN:
        console.note(f"and {len(people) - SHOWN:,} more: --out FILE.parquet or FILE.csv takes all")


def _write(out: Path, people: People, lists: Lists, targets: Sequences) -> None:
    """Write a row a user and item: user, rank, item, text, score."""
    import polars as pl

    ids, scores = lists
    owner, place = np.nonzero(ids != PAD)
    index = ids[owner, place] - RESERVED
    frame = pl.DataFrame(
        {
            "user": pl.Series(people.names, dtype=pl.String)[owner],
            "rank": place + 1,
            "item": pl.Series(targets.item_ids, dtype=pl.String)[index],
            "text": pl.Series(targets.texts, dtype=pl.String)[index],
            "score": scores[owner, place],
        }
    )
    with replacing(out) as temporary:
        if out.suffix == ".csv":
            frame.write_csv(temporary)
        else:
            frame.write_parquet(temporary)
    console.note(f"written: {out}, {len(frame):,} rows")

"""`userrep recommend`: the lists are those of a naive ranking, for users of the data and for new ones."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from userrep.cli import main
from userrep.objectives.ranking import Ranking
from userrep.run import open_run
from userrep.sequences.store import Prepared
from userrep.sequences.vocab import RESERVED
from userrep.stages.restore import restore

SMALL = ("model.width=16", "model.dilations=[1,2]", "trainer.epochs=1")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, prepared_data_dir: Path) -> Path:
    """A folder with a pre-trained run and a baseline; for reading only."""
    folder = tmp_path_factory.mktemp("made")
    pretrain = ("pretrain", "dataset=synthetic", *SMALL, "protocol.history=20", "--run", str(folder / "base"))
    gender = ("transfer", "--from", str(folder / "base"), "--method", "head", "trainer.epochs=1")
    for words in (pretrain, (*gender, "--run", str(folder / "gender"))):
        with pytest.raises(SystemExit) as ended:
            main([*words, "--data-dir", str(prepared_data_dir)])
        assert not ended.value.code
    return folder


@pytest.fixture
def recommend(made: Path, userrep: Any, prepared_data_dir: Path) -> Any:
    """Recommend by a run of the folder, and expect it to end with `code`."""

    def run(*words: str, code: int = 0, source: str = "base") -> Any:
        told = userrep("recommend", str(made / source), *words, "--data-dir", str(prepared_data_dir), "--json")
        assert told.code == code, told.err
        return told.answer if code == 0 else told.error

    return run


def naive(made: Path, prepared: Prepared, history: np.ndarray, k: int) -> list[tuple[str, float]]:
    """Rank all items for one history by a whole matrix product and a sort."""
    encoder, objective = restore(open_run(made / "base"), prepared)
    assert isinstance(objective, Ranking)
    with torch.inference_mode():
        table, _ = objective.output(encoder)
        items = torch.zeros(1, 20, dtype=torch.int64)
        items[0, -min(20, len(history)) :] = torch.from_numpy(history[-20:].astype(np.int64))
        scores = (objective.states_of(encoder, items) @ table.T)[0].numpy()
    scores[[0, 1, *history]] = -np.inf
    best = np.lexsort((np.arange(len(scores)), -scores))[:k]
    return [(prepared.sequences().item_ids[item - RESERVED], float(scores[item])) for item in best]


def listed(answer: dict[str, Any], user: str) -> list[tuple[str, float]]:
    found = next(entry["items"] for entry in answer["recommendations"] if entry["user"] == user)
    return [(item["item"], item["score"]) for item in found]


def equal(found: list[tuple[str, float]], expected: list[tuple[str, float]]) -> bool:
    return [item for item, _ in found] == [item for item, _ in expected] and np.allclose(
        [score for _, score in found], [score for _, score in expected], atol=1e-5
    )


def test_the_lists_are_those_of_a_sort_without_what_was_met(recommend: Any, made: Path, prepared: Prepared) -> None:
    names = [prepared.user_ids[row] for row in (5, 0, 299)]
    Path("users.txt").write_text("user\n" + "\n".join([names[0], "nobody", *names]) + "\n")
    answer = recommend("--users", "users.txt", "--topk", "4")
    assert [entry["user"] for entry in answer["recommendations"]] == names
    assert (answer["users"], answer["topk"], answer["unknown_users"]) == (3, 4, ["nobody"])
    sequences = prepared.sequences()
    assert answer["items"] == len(sequences.item_ids)
    for row, name in zip((5, 0, 299), names, strict=True):
        history = np.asarray(sequences.items[sequences.offsets[row] : sequences.offsets[row + 1]])
        assert equal(listed(answer, name), naive(made, prepared, history, 4))


def test_new_users_are_read_from_their_events_in_order_of_time(recommend: Any, made: Path, prepared: Prepared) -> None:
    ids = prepared.sequences().item_ids
    rows = [("b", ids[7], 30), ("a", ids[1], 2), ("b", ids[3], 10), ("a", "strange", 1), ("c", "strange", 1)]
    writers = {"events.csv": "write_csv", "events.parquet": "write_parquet", "events.jsonl": "write_ndjson"}
    for path, write in writers.items():
        getattr(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"), write)(path)
        answer = recommend("--events", path)
        assert (answer["users"], answer["unknown_items"], answer["without_items"]) == (2, 2, ["c"])
        assert equal(listed(answer, "b"), naive(made, prepared, np.array([3, 7]) + RESERVED, 10))
        assert equal(listed(answer, "a"), naive(made, prepared, np.array([1]) + RESERVED, 10))
    expected = naive(made, prepared, np.array([3, 7]) + RESERVED, 10)
    for a_second in (1, 10**3, 10**6, 10**9):
        times = [(user, item, (1_700_000_000 + time) * a_second) for user, item, time in rows]
        pl.DataFrame(times, schema=["user", "item", "time"], orient="row").write_csv("events.csv")
        assert equal(listed(recommend("--events", "events.csv"), "b"), expected)
    pl.DataFrame(rows, schema=["user", "item", "time"], orient="row").drop("time").write_csv("events.csv")
    assert equal(
        listed(recommend("--events", "events.csv"), "b"), naive(made, prepared, np.array([7, 3]) + RESERVED, 10)
    )


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_takes_a_row_a_user_and_item(recommend: Any, prepared: Prepared, suffix: str) -> None:
    pl.DataFrame({"user": prepared.user_ids}).write_csv("users.csv")
    answer = recommend("--users", "users.csv", "--topk", "3", "--out", f"lists{suffix}")
    assert "recommendations" not in answer
    frame = (pl.read_csv if suffix == ".csv" else pl.read_parquet)(f"lists{suffix}")
    assert frame.columns == ["user", "rank", "item", "text", "score"]
    assert len(frame) == 3 * answer["users"] == 3 * prepared.num_users
    assert frame["rank"].to_list() == [1, 2, 3] * prepared.num_users
    falling = frame.group_by("user").agg(pl.col("score").diff().drop_nulls().max())
    assert falling["score"].max() <= 0


def test_a_user_who_has_met_everything_gets_what_is_left(recommend: Any, prepared: Prepared) -> None:
    ids = prepared.sequences().item_ids
    pl.DataFrame({"user": ["all"] * (len(ids) - 2), "item": ids[2:]}).write_csv("events.csv")
    assert {item for item, _ in listed(recommend("--events", "events.csv"), "all")} == set(ids[:2])


def test_a_terminal_shows_the_first_users_and_says_who_was_left_out(
    userrep: Any, made: Path, prepared: Prepared, prepared_data_dir: Path
) -> None:
    Path("users.txt").write_text("\n".join([*prepared.user_ids[:5], "nobody"]))
    told = userrep("recommend", str(made / "base"), "--users", "users.txt", "--data-dir", str(prepared_data_dir))
    assert f"user {prepared.user_ids[0]}" in told.out
    assert "and 2 more" in told.out
    assert "not in the data: 1 user(s), nobody" in told.err


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        ((), 2, "for whom"),
        (("--users", "u.csv", "--events", "e.csv"), 2, "for whom"),
        (("--users", "u.csv", "--out", "x.json"), 2, "x.json"),
        (("--users", "none.csv"), 3, "none.csv"),
        (("--users", "none.txt"), 3, "none.txt"),
        (("--users", "e.csv"), 3, "knows none"),
        (("--users", "odd.csv"), 3, "'user'"),
        (("--events", "u.csv"), 3, "'item'"),
        (("--events", "e.csv"), 3, "none is of an item"),
        (("--events", "hole.csv"), 3, "no item"),
        (("--events", "late.csv"), 3, "neither a number nor a date"),
    ],
)
def test_what_cannot_be_ranked_is_refused(recommend: Any, words: tuple[str, ...], code: int, part: str) -> None:
    for name, text in (
        ("u.csv", "user\nu1\n"), ("e.csv", "user,item\nx,y\n"), ("odd.csv", "name,age\nx,1\n"),
        ("hole.csv", "user,item\nx,\n"), ("late.csv", "user,item,time\nx,y,soon\n"),
    ):  # fmt: skip
        Path(name).write_text(text)
    error = recommend(*words, code=code)
    assert part in error["message"]
    assert error["hint"]


def test_a_run_of_classes_ranks_no_items(recommend: Any) -> None:
    Path("u.csv").write_text("user\nx\n")
    assert "ranks no items" in recommend("--users", "u.csv", code=2, source="gender")["message"]


EVENTS = "user,item,time,domain\n" + "".join(
    f"u{user},{domain}{(user * step + 3 * step) % 12},{100 * user + 2 * step + (domain == 'y')},{domain}\n"
    for user in range(60)
    for step in range(6)
    for domain in "xy"
)


def test_across_domains_the_items_of_the_target_are_ranked_without_those_met_there(
    userrep: Any, workplace: Path
) -> None:
    Path("events.csv").write_text(EVENTS)
    table = ("dataset=table", "dataset.path=events.csv", "dataset.name=two", "dataset.domain=domain", "dataset.main=x")
    seen = ("protocol=cross_domain", "protocol.pretrain_users=train")
    train = ("--from", "base", "task=cold_first", "--method", "head", "trainer.epochs=1", "--run", "cold")
    for words in (
        ("preprocess", *table),
        ("pretrain", *table, *seen, *SMALL, "--run", "base"),
        ("transfer", *seen, *train),
    ):
        told = userrep(*words)
        assert told.code == 0, told.err
    Path("users.txt").write_text("u1\nu2\n")
    answer = userrep("recommend", "cold", "--users", "users.txt", "--topk", "50", "--json").answer
    met = {f"y{(1 * step + 3 * step) % 12}" for step in range(6)}
    known = {f"y{number}" for number in range(12)}
    assert {item for item, _ in listed(answer, "u1")} == known - met
    Path("new.csv").write_text("user,item\nme,x3\nme,y0\nyou,y1\n")
    answer = userrep("recommend", "cold", "--events", "new.csv", "--topk", "50", "--json").answer
    assert {item for item, _ in listed(answer, "me")} == known - {"y0"}
    assert (answer["without_items"], answer["unknown_items"]) == (["you"], 0)


def test_a_list_is_no_longer_than_all_items_whatever_is_asked(recommend: Any, prepared: Prepared) -> None:
    Path("new.csv").write_text(f"user,item\nann,{prepared.sequences().item_ids[0]}\n", encoding="utf-8")
    answer = recommend("--events", "new.csv", "--topk", str(10**30))
    assert len(answer["recommendations"][0]["items"]) == answer["items"] - 1


def test_a_broken_line_is_not_told_of_flags_of_another_verb(recommend: Any, workplace: Path) -> None:
    Path("new.csv").write_text("user,item\nann\n", encoding="utf-8")
    assert recommend("--events", "new.csv", code=3)["hint"] == "correct the file"

"""`userrep embed`: the vectors are those that an evaluation reads, whoever is asked for and however they are cut."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from userrep.build import build
from userrep.evaluation.ranking import Csr
from userrep.files import read_json, sha256_of, write_json
from userrep.models.encoder import Encoder
from userrep.models.nextitnet import NextItNet
from userrep.objectives.classify import encode_users
from userrep.objectives.objective import Objective
from userrep.objectives.ranking import Ranking
from userrep.run import open_run
from userrep.sequences.batches import Cases
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared
from userrep.sequences.vocab import RESERVED
from userrep.stages.restore import restore
from userrep.stages.vectors import Embedder

CHAIN = ("protocol.events=chain", "protocol.history=20", "trainer.epochs=1", "trainer.batch_size=64")
SMALL = ("dataset=synthetic", "model.width=16", "model.dilations=[1,2]")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, succeed: Callable[..., None]) -> Path:
    """A folder with the runs `base` (next items, read by the last state), `gender`, `liked`; for reading only."""
    folder = tmp_path_factory.mktemp("made")
    succeed("pretrain", *SMALL, *CHAIN, "protocol.readout=last", "--run", str(folder / "base"))
    for task in ("gender", "liked"):
        words = ("--from", str(folder / "base"), "--method", "head", f"task={task}", *CHAIN)
        succeed("transfer", *words, "--run", str(folder / task))
    succeed("baseline", "majority", "dataset=synthetic", "task=gender", "--run", str(folder / "majority"))
    return folder


@pytest.fixture
def embed(made: Path, ask: Any) -> Any:
    """Embed by a run of the folder into `users.parquet`, and expect it to end with `code`."""

    def run(*words: str, code: int = 0, source: str | Path = "base") -> Any:
        out = () if "--out" in words else ("--out", "users.parquet")
        return ask("embed", str(made / source), *words, *out, code=code)

    return run


def restored(path: Path, data: Prepared) -> tuple[Encoder, Objective, Protocol]:
    run = open_run(path)
    return (*restore(run, data), build(run.config["protocol"], at="protocol"))


def encoded(path: Path, data: Prepared, cases: Cases) -> np.ndarray:
    """Encode cases as an evaluation by user vectors does, in one go."""
    encoder, _, protocol = restored(path, data)
    with torch.inference_mode():
        return encode_users(encoder, data.sequences(), cases, protocol.history).numpy()


def everyone(data: Prepared) -> Cases:
    rows = np.arange(data.num_users)
    return Cases(rows, data.sequences().offsets[1:], rows)


def written() -> tuple[list[str], np.ndarray]:
    """Return the names and the vectors of the table, or of the folder of tables."""
    frame = pl.scan_parquet("users.parquet").collect()
    return frame["user"].to_list(), frame["vector"].to_numpy()


def test_the_vectors_of_a_split_are_those_that_a_classification_reads(
    embed: Any, made: Path, prepared: Prepared
) -> None:
    _, objective, protocol = restored(made / "gender", prepared)
    for split in ("train", "valid", "test"):
        cases = objective.cases(prepared, protocol, split)
        answer = embed("--split", split, source="gender")
        names, vectors = written()
        assert names == [prepared.user_ids[row] for row in cases.rows]
        assert np.array_equal(vectors, encoded(made / "gender", prepared, cases))
        assert (answer["users"], answer["width"], answer["readout"]) == (len(cases), 16, "mean")
        assert (answer["split"], answer["files"], answer["out"]) == (split, 1, "users.parquet")


def test_the_vectors_of_a_split_are_those_that_next_items_are_ranked_by(
    embed: Any, made: Path, prepared: Prepared
) -> None:
    encoder, objective, protocol = restored(made / "base", prepared)
    assert isinstance(objective, Ranking)
    cases = objective.cases(prepared, protocol, "test")
    with torch.inference_mode():
        expected = objective.encode(encoder, prepared, protocol, cases).numpy()
    embed("--split", "test")
    names, vectors = written()
    assert names == [prepared.user_ids[row] for row in cases.rows]
    assert np.array_equal(vectors, expected)


def test_all_users_are_there_by_their_raw_ids_with_all_of_their_events(
    embed: Any, made: Path, prepared: Prepared
) -> None:
    answer = embed()
    names, vectors = written()
    assert names == prepared.user_ids
    assert np.array_equal(vectors, encoded(made / "base", prepared, everyone(prepared)))
    assert (answer["users"], answer["split"], answer["unknown_items"], answer["without_items"]) == (300, "all", 0, [])
    assert answer["users_per_second"] > 0
    schema = {"user": pl.String(), "vector": pl.Array(pl.Float32, 16)}
    assert dict(pl.read_parquet_schema("users.parquet")) == schema


def test_a_folder_of_files_holds_what_one_file_does_and_each_replaces_the_other(embed: Any) -> None:
    embed()
    names, vectors = written()
    for most, files in ((299, 2), (100, 3), (77, 4), (300, 1)):
        assert embed("--rows-per-file", str(most))["files"] == files
        again, same = written()
        assert again == names
        assert np.array_equal(same, vectors)
        parts = sorted(path.name for path in Path("users.parquet").glob("*"))
        assert parts == ([f"part-{number:05d}.parquet" for number in range(files)] if files > 1 else [])
        assert [path.name for path in Path().iterdir()] == ["users.parquet"]


def test_a_user_with_several_cases_has_a_row_for_each(embed: Any, made: Path, prepared: Prepared) -> None:
    _, objective, protocol = restored(made / "liked", prepared)
    cases = objective.cases(prepared, protocol, "test")
    answer = embed("--split", "test", source="liked")
    names, vectors = written()
    assert names == [prepared.user_ids[row] for row in cases.rows]
    assert answer["users"] == len(set(names)) < len(names)
    assert np.array_equal(vectors, encoded(made / "liked", prepared, cases))
    frame = pl.read_parquet("users.parquet")
    assert frame.columns == ["user", "case", "vector"]
    for _, of_user in frame.group_by("user", maintain_order=True):
        assert of_user["case"].to_list() == list(range(len(of_user)))


def test_new_users_are_read_from_their_events_and_who_has_no_known_item_is_named(
    embed: Any, made: Path, prepared: Prepared
) -> None:
    ids = prepared.sequences().item_ids
    rows = [("b", ids[7], 30), ("a", ids[1], 2), ("b", ids[3], 10), ("a", "strange", 1), ("c", "strange", 1)]
    pl.DataFrame(rows, schema=["user", "item", "time"], orient="row").write_csv("new.csv")
    answer = embed("--events", "new.csv")
    assert (answer["users"], answer["unknown_items"], answer["without_items"]) == (2, 2, ["c"])
    assert answer["split"] is None
    encoder, _, _ = restored(made / "base", prepared)
    items = torch.zeros(2, 20, dtype=torch.int64)
    items[0, -1:], items[1, -2:] = torch.tensor([1]) + RESERVED, torch.tensor([3, 7]) + RESERVED
    names, vectors = written()
    assert names == ["a", "b"]
    with torch.inference_mode():
        assert np.array_equal(vectors, encoder.user(items).numpy())


def test_a_terminal_tells_how_many_how_wide_and_who_was_left_out(
    userrep: Any, made: Path, prepared: Prepared, prepared_data_dir: Path
) -> None:
    ids = prepared.sequences().item_ids
    Path("new.csv").write_text(f"user,item\na,{ids[0]}\nb,{ids[1]}\nc,strange\n")
    words = ("--events", "new.csv", "--out", "new.parquet", "--rows-per-file", "1")
    told = userrep("embed", str(made / "base"), *words, "--data-dir", str(prepared_data_dir))
    assert "2 user(s), width 16" in told.out
    assert "written: new.parquet, 2 rows in 2 files" in told.out
    assert "no known item: 1 user(s), c" in told.err


def test_another_readout_is_read_where_nothing_of_it_has_to_be_trained(
    embed: Any, made: Path, prepared: Prepared
) -> None:
    answer = embed("--readout", "mean+items")
    assert (answer["readout"], answer["width"]) == ("mean+items", 32)
    for part in ("token", "mean+attention"):
        error = embed("--readout", part, code=2)
        assert f"'{part}'" in error["message"]
        assert "last, mean, items" in error["hint"]
    assert "unknown part 'sum'" in embed("--readout", "sum", code=2)["message"]


def test_a_token_and_a_query_that_were_trained_are_read(
    embed: Any, made: Path, succeed: Any, prepared: Prepared
) -> None:
    words = ("--from", str(made / "base"), "--method", "full", "task=gender", *CHAIN)
    succeed("transfer", *words, "protocol.readout=attention+token", "--run", "trained")
    source = Path("trained").resolve()
    assert load_file(source / "delta.safetensors")["encoder.readout.query"].any()
    expected = encoded(source, prepared, everyone(prepared))
    assert embed(source=source)["readout"] == "attention+token"
    assert np.array_equal(written()[1], expected)
    assert embed("--readout", "token+attention", source=source)["width"] == 32
    assert np.array_equal(written()[1], np.roll(expected, 16, axis=1))


def test_weights_that_are_no_numbers_are_refused_and_leave_nothing(embed: Any, made: Path) -> None:
    broken = Path(shutil.copytree(made / "base", "broken")).resolve()
    path, record = broken / "model.safetensors", read_json(broken / "run.json")
    weights = load_file(path)
    weights["encoder.stem.table.weight"][5] = torch.nan
    save_file(weights, path)
    record["weights"]["sha256"] = sha256_of(path)
    write_json(broken / "run.json", record)
    error = embed("--rows-per-file", "10", source=broken, code=4)
    assert "user vectors are not finite" in error["message"]
    assert [path.name for path in Path().iterdir()] == ["broken"]


def test_a_folder_with_other_things_in_it_is_left_alone(embed: Any) -> None:
    Path("users.parquet").mkdir()
    Path("users.parquet/notes.txt").write_text("mine")
    assert "notes.txt" in embed(code=2)["message"]
    assert Path("users.parquet/notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (("--out", "users.csv"), 2, "users.csv"),
        (("--out", "users"), 2, "users"),
        (("--events", "new.csv", "--split", "test"), 2, "in no split"),
        (("--events", "none.csv"), 3, "none.csv"),
        (("--events", "new.csv"), 3, "none is of an item"),
        (("--out", "new.csv/users.parquet"), 3, "new.csv"),
    ],
)
def test_what_cannot_be_embedded_is_refused(embed: Any, words: tuple[str, ...], code: int, part: str) -> None:
    Path("new.csv").write_text("user,item\nx,y\n")
    error = embed(*words, code=code)
    assert part in error["message"]
    assert error["hint"]
    assert not Path("users.parquet").exists()


def test_it_must_be_said_where_the_vectors_go(ask: Any, made: Path) -> None:
    assert "where the vectors go" in ask("embed", str(made / "base"), code=2)["message"]


def test_a_baseline_holds_no_encoder(embed: Any) -> None:
    assert "holds no encoder" in embed(source="majority", code=2)["message"]


def test_tasks_that_are_learned_together_have_no_cases_in_common(embed: Any, made: Path, succeed: Any) -> None:
    joint = ("task=joint_ml", "~task.parts.occupation", *CHAIN)  # the generated users have none
    succeed("transfer", "--from", str(made / "base"), "--method", "head", *joint, "--run", "joint")
    source = Path("joint").resolve()
    assert embed(source=source)["users"] == 300
    assert "cases of its own" in embed("--split", "test", source=source, code=2)["message"]


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 130])
def test_blocks_of_any_size_are_what_one_pass_gives(count: int) -> None:
    rng = np.random.default_rng(count)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 12, count))])
    histories = Csr(rng.integers(RESERVED, 50, offsets[-1]).astype(np.int32), offsets[:-1], offsets[1:])
    embedder = Embedder(NextItNet(50, width=16, dilations=[1, 2]).eval(), history=8)
    together = embedder.all(histories)
    assert together.shape == (count, embedder.width)
    assert together.dtype == np.float32
    for at_once in (1, 64, 100, 128):
        blocks = list(embedder.blocks(histories, at_once))
        assert all(len(block) == max(64, at_once // 64 * 64) for block in blocks[:-1])
        assert np.array_equal(np.concatenate(blocks), together)

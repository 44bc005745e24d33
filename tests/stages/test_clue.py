"""CLUE through the command line: pre-trained, looked at, handed on without its heads, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from userrep.build import build
from userrep.objectives.classify import encode_users
from userrep.run import open_run
from userrep.sequences.store import Prepared
from userrep.stages.restore import base_encoder, restore
from userrep.training.journal import Journal
from userrep.training.weights import read_weights

SMALL = ("model=sasrec", "model.width=16", "trainer.epochs=2", "trainer.length=20", "protocol.history=20")
CLUE = ("objective=clue", "protocol.readout=token", "objective.judged=60", *SMALL)
GEOMETRY = {"effective_rank", "spread", "alignment", "uniformity"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, succeed: Any) -> Path:
    """A folder with a run of CLUE and one of CLUE beside next item; for reading only."""
    folder = tmp_path_factory.mktemp("clue")
    succeed("pretrain", "dataset=synthetic", *CLUE, "--run", str(folder / "clue"))
    both = ("objective=clue_next_item", "objective.parts.clue.judged=60", "objective.parts.clue.mask=0.2")
    succeed("pretrain", "dataset=synthetic", *both, *SMALL, "protocol.readout=mean", "--run", str(folder / "both"))
    return folder


def test_an_epoch_tells_how_users_lie_and_evaluate_whether_they_are_found_again(made: Path, ask: Any) -> None:
    records = Journal(made / "clue" / "log.jsonl").records()
    assert all(record.keys() >= GEOMETRY | {"ndcg@10", "loss"} for record in records)
    measured = ask("evaluate", str(made / "clue"))
    assert 0 < measured["metrics"]["hr@10"] <= 1
    assert measured["users"] == 60
    assert open_run(made / "clue").record["task"] == "same_user,judged=60"


def test_beside_next_item_the_numbers_are_those_of_next_item(made: Path, ask: Any) -> None:
    record = Journal(made / "both" / "log.jsonl").records()[-1]
    assert record["loss:next_item"] + record["loss:clue"] == pytest.approx(record["loss"])
    assert {f"clue/{name}" for name in GEOMETRY} <= record.keys()
    Path("people.csv").write_text("user\nu00001\n")
    listed = ask("recommend", str(made / "both"), "--users", "people.csv", "--topk", "3")
    assert len(listed["recommendations"][0]["items"]) == 3
    ask("evaluate", str(made / "both"))


def test_a_transfer_takes_the_encoder_with_its_token_and_leaves_the_heads(
    made: Path, ask: Any, prepared: Prepared
) -> None:
    base = open_run(made / "clue")
    held = read_weights(base.weights)
    assert any(name.startswith("objective.projector.") for name in held)
    assert any(name.startswith("objective.predictor.") for name in held)
    words = ("--from", str(made / "clue"), "task=gender", "protocol.readout=token", "trainer.epochs=1")
    ask("transfer", "--method", "full", *words, "--run", "gender")
    tuned = open_run("gender")
    assert {name.split(".")[1] for name in read_weights(tuned.weights) if name.startswith("objective.")} == {
        "head", "standardise",
    }  # fmt: skip
    start = base_encoder(tuned.config, base, prepared)
    build(tuned.config["method"]).adapt(start, "token")
    for name, tensor in start.state_dict().items():
        assert torch.equal(tensor, held[f"encoder.{name}"]), name
    ask("transfer", "--method", "peterrec", *words, "--run", "patched")
    assert not any("token" not in name and "patch" not in name for name in delta(Path("patched")))


def delta(run: Path) -> set[str]:
    """Name what a delta holds of the encoder, but for norms, which PeterRec trains by default."""
    names = read_weights(run / "delta.safetensors")
    return {name for name in names if name.startswith("encoder.") and "norm" not in name}


def test_vectors_of_embed_are_those_that_evaluate_reads(made: Path, ask: Any, prepared: Prepared) -> None:
    words = ("--from", str(made / "clue"), "task=gender", "protocol.readout=token", "trainer.epochs=1")
    ask("transfer", "--method", "full", *words, "--run", "gender")
    ask("embed", "gender", "--split", "test", "--out", "users.parquet")
    tuned = open_run("gender")
    encoder, task = restore(tuned, prepared)
    protocol = build(tuned.config["protocol"])
    cases = task.cases(prepared, protocol, "test")
    with torch.inference_mode():
        vectors = encode_users(encoder, task.inputs(prepared, protocol), cases, protocol.history)
    found = pl.read_parquet("users.parquet")
    assert found["user"].to_list() == [prepared.user_ids[row] for row in cases.rows]
    assert np.array_equal(found["vector"].to_numpy(), vectors.numpy())


def test_a_probe_reads_the_token_that_was_trained(made: Path, ask: Any) -> None:
    found = ask("probe", str(made / "clue"), "--label", "gender")
    assert [probe["readout"] for probe in found["probes"]] == ["token"]
    refused = ask("probe", str(made / "both"), "--label", "gender", "--readout", "token", code=2)
    assert "token" in refused["message"]


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        (("model.dropout=0",), 2, "views of a user would be equal", "model.dropout=0.3"),
        (("model=nextitnet_paper",), 2, "views of a user would be equal", "objective.mask"),
        (("trainer.batch_size=1",), 2, "batch_size is 1", "2 or more"),
        (("objective.crop=1.0",), 2, "crop is 1.0", "[0, 1)"),
        (("objective.on_collapse=hope",), 2, "on_collapse is 'hope'", "warn"),
        (("objective.temperature=1",), 2, "temperature", ""),
    ],
)
def test_what_cannot_be_compared_is_refused(
    ask: Any, words: tuple[str, ...], code: int, message: str, hint: str
) -> None:
    kept = [word for word in CLUE if not words[0].startswith("model=nextitnet") or "model" not in word]
    found = ask("pretrain", "dataset=synthetic", *kept, *words, "--run", "refused", code=code)
    assert message in found["message"]
    assert hint in found["hint"]


def test_a_run_that_ranks_no_items_recommends_nothing(made: Path, ask: Any) -> None:
    Path("people.csv").write_text("user\nu00001\n")
    found = ask("recommend", str(made / "clue"), "--users", "people.csv", code=2)
    assert "ranks no items" in found["message"]


def test_a_chain_of_tasks_begins_with_such_a_base_and_is_certified(made: Path, ask: Any) -> None:
    ask("prune", str(made / "clue"), "--method", "conure", "trainer.epochs=1", "protocol.readout=token", "--run", "1")
    ask("verify", "1")
    words = ("--from", "1", "task=gender", "protocol.readout=token", "trainer.epochs=1")
    ask("transfer", "--method", "conure", *words, "--run", "2")
    assert ask("verify", "2")["run"] == "2"


def test_the_last_epoch_is_kept(made: Path) -> None:
    records = Journal(made / "clue" / "log.jsonl").records()
    assert [record["best"] for record in records] == [True, True]
    assert open_run(made / "clue").record["best_epoch"] == 2

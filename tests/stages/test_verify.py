"""`userrep verify`: what a certificate says, and that no harm to a chain goes unseen."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.numpy import load_file, save_file

from userrep.errors import VerificationError
from userrep.files import sha256_of
from userrep.methods.conure import Conure
from userrep.methods.surgery import vectors
from userrep.stages import verify
from userrep.stages.request import Request

KERNEL = "blocks.0.branch.first.op.weight"
OWNED = "encoder.blocks.0.branch.first.op.parametrizations.weight"
SHORT = ("protocol.events=chain", "trainer.epochs=1")
ENDINGS = (".owner", ".kept", ".free", ".original")


def change_json(path: Path, change: Callable[[Any], Any]) -> None:
    held = json.loads(path.read_text())
    change(held)
    path.write_text(json.dumps(held))


def certificate(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "certificate.json").read_text()))


def forge(run: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
    """Change tensors of a run's delta, and let its record say that this is what was written."""
    path = run / "delta.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    size = {"sha256": sha256_of(path), "bytes": path.stat().st_size}
    change_json(run / "run.json", lambda record: record["weights"].update(size))


def forge_certificate(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a run's certificate, and let its record say that this is what was written."""
    change_json(run / "certificate.json", change)
    digest = sha256_of(run / "certificate.json")
    change_json(run / "run.json", lambda record: record.update(certificate=digest))


def verify_in_process(run: Path, data_dir: Path) -> dict[str, Any]:
    return verify.run(Request(data_dir=data_dir, extra={"source": run}))


def test_a_chain_that_nobody_touched_is_verified_bit_for_bit(ask: Any, learned: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in learned.rglob("*")}
    answer = ask("verify", str(learned / "3"))
    assert [(row["task"], row["name"]) for row in answer["tasks"]] == [
        (1, "next_item"), (2, "chain_gender"), (3, "chain_age"),
    ]  # fmt: skip
    assert {row["logits"] for row in answer["tasks"]} == {"bit for bit"}
    assert [row["now"] for row in answer["tasks"]] == [row["then"] for row in answer["tasks"]]
    assert (answer["backward_transfer"], answer["files"]) == (0.0, 4)
    assert {path: path.stat().st_mtime_ns for path in learned.rglob("*")} == before, "verify writes nothing"


def test_it_says_so_to_a_reader(userrep: Any, learned: Path, prepared_data_dir: Path) -> None:
    told = userrep("verify", str(learned / "3"), "--data-dir", str(prepared_data_dir))
    assert told.code == 0
    assert "backward transfer to 2 earlier task(s): exactly 0" in told.out
    assert told.out.count("bit for bit") == 3


def test_every_run_of_a_chain_has_its_own_certificate(ask: Any, learned: Path) -> None:
    for task in (1, 2, 3):
        assert len(ask("verify", str(learned / str(task)))["tasks"]) == task
        assert [entry["task"] for entry in certificate(learned / str(task))["tasks"]] == list(range(1, task + 1))
    assert ask("verify", str(learned / "1"))["backward_transfer"] is None


def test_a_certified_kernel_is_what_the_owners_so_far_keep_and_zero_elsewhere(learned: Path) -> None:
    delta = load_file(learned / "3" / "delta.safetensors")
    owner, kept = delta[f"{OWNED}.0.owner"], delta[f"{OWNED}.0.kept"]
    for task, entry in enumerate(certificate(learned / "3")["tasks"], start=1):
        read = np.where((owner >= 1) & (owner <= task), kept, np.float32(0))
        expected = hashlib.sha256(f"float32|{list(read.shape)}|".encode() + read.astype("<f4").tobytes()).hexdigest()
        assert entry["tensors"][f"encoder.{KERNEL}"] == expected
        assert not [name for name in entry["tensors"] if name.endswith(ENDINGS)]
    assert certificate(learned / "3")["owners"][KERNEL] == np.bincount(owner.ravel()).tolist()
    assert certificate(learned / "3")["free"] == pytest.approx(0.343, abs=0.02)


def test_a_certificate_covers_the_table_the_norms_and_the_heads(learned: Path) -> None:
    first, second, _ = certificate(learned / "3")["tasks"]
    assert {"encoder.stem.table.weight", "encoder.final.norm.weight"} <= first["tensors"].keys()
    assert "objective.head.weight" in second["tensors"]
    for name in first["tensors"].keys() & second["tensors"].keys():
        shared = first["tensors"][name] == second["tensors"][name]
        assert shared == (not name.startswith("encoder.blocks") or "op.weight" not in name), name


@pytest.mark.parametrize(
    "file", ["3/delta.safetensors", "2/delta.safetensors", "1/delta.safetensors", "base/model.safetensors"]
)
def test_no_flipped_byte_of_weights_goes_unseen(chain: Path, prepared_data_dir: Path, file: str) -> None:
    whole = (chain / file).read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    rng = np.random.default_rng(0)
    places = [0, 8, *rng.integers(9, header, 3).tolist(), *rng.integers(header, len(whole), 3).tolist(), len(whole) - 1]
    for place in places:
        harmed = bytearray(whole)
        harmed[place] ^= 1 << int(rng.integers(8))
        (chain / file).write_bytes(harmed)
        with pytest.raises(VerificationError):
            verify_in_process(chain / "3", prepared_data_dir)


@pytest.mark.parametrize("task", [1, 2, 3])
def test_no_flipped_byte_of_a_certificate_goes_unseen(chain: Path, prepared_data_dir: Path, task: int) -> None:
    path = chain / str(task) / "certificate.json"
    whole = path.read_bytes()
    for place in np.random.default_rng(task).integers(len(whole), size=12).tolist():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(VerificationError):
            verify_in_process(chain / "3", prepared_data_dir)


def test_a_truncated_file_is_refused(ask: Any, chain: Path) -> None:
    for name in ("certificate.json", "delta.safetensors"):
        whole = (chain / "3" / name).read_bytes()
        (chain / "3" / name).write_bytes(whole[: len(whole) // 2])
        assert ask("verify", "runs/3", code=5)["kind"] == "verification"
        (chain / "3" / name).write_bytes(whole)
    assert ask("verify", "runs/3")


def test_an_edited_owner_map_is_named_by_task_and_tensor_even_where_its_hash_was_forged(ask: Any, chain: Path) -> None:
    def steal(tensors: dict[str, np.ndarray]) -> None:
        owner = tensors[f"{OWNED}.0.owner"]
        owner[np.unravel_index(np.flatnonzero(owner == 1)[:1], owner.shape)] = 3

    forge(chain / "3", steal)
    message = ask("verify", "runs/3", code=5)["message"]
    assert f"encoder.{KERNEL}" in message
    assert "task 1 (next_item)" in message


@pytest.mark.parametrize("part", ["0.owner", "0.kept", "original"])
def test_what_no_task_reads_is_held_as_well(ask: Any, chain: Path, part: str) -> None:
    def change(tensors: dict[str, np.ndarray]) -> None:
        free = np.flatnonzero(tensors[f"{OWNED}.0.owner"] == 0)[:1]
        changed = tensors[f"{OWNED}.{part}"]
        changed[np.unravel_index(free, changed.shape)] = 2

    forge(chain / "3", change)
    assert f"{OWNED}.{part}" in ask("verify", "runs/3", code=5)["message"]


def test_owners_that_no_chain_has_break_nothing_but_the_verification(ask: Any, chain: Path) -> None:
    forge(chain / "2", lambda tensors: tensors[f"{OWNED}.0.owner"].fill(255))
    assert OWNED in ask("verify", "runs/3", code=5)["message"]


@pytest.mark.parametrize("name", ["encoder.stem.table.weight", "encoder.blocks.0.branch.first.norm.bias"])
def test_a_flipped_bit_of_what_tasks_share_is_named_by_tensor_and_task(ask: Any, chain: Path, name: str) -> None:
    def flip(tensors: dict[str, np.ndarray]) -> None:
        tensors[name].view(np.uint32).reshape(-1)[-1] ^= 1

    forge(chain / "1", flip)  # it lies there alone
    message = ask("verify", "runs/3", code=5)["message"]
    assert name in message
    assert "task 1 (next_item)" in message


def test_a_flipped_bit_of_an_owned_weight_is_named_by_tensor_and_the_first_task_that_reads_it(
    ask: Any, chain: Path
) -> None:
    def flip(tensors: dict[str, np.ndarray]) -> None:
        place = np.flatnonzero(tensors[f"{OWNED}.0.owner"] == 2)[0]
        tensors[f"{OWNED}.0.kept"].view(np.uint32).reshape(-1)[place] ^= 1

    forge(chain / "3", flip)
    message = ask("verify", "runs/3", code=5)["message"]
    assert f"encoder.{KERNEL}" in message
    assert "task 2 (chain_gender)" in message


def test_the_certificate_of_another_run_is_refused(ask: Any, chain: Path) -> None:
    words = ("--from", "runs/2", "task=chain_age", *SHORT, "seed=5", "--run", "runs/other")
    ask("transfer", "--method", "conure", *words)
    assert ask("verify", "runs/other")["tasks"]
    shutil.copy(chain / "other/certificate.json", chain / "3/certificate.json")
    assert "sha256" in ask("verify", "runs/3", code=5)["message"]
    forge_certificate(chain / "3", lambda held: None)
    assert "another run" in ask("verify", "runs/3", code=5)["message"]


def test_an_earlier_task_is_what_its_own_certificate_says(ask: Any, chain: Path) -> None:
    forge_certificate(chain / "3", lambda held: held["tasks"][0]["metric"].update(value=0.9))
    assert "other metric for task 1" in ask("verify", "runs/3", code=5)["message"]


def test_a_certificate_that_is_gone_is_missed_and_a_run_that_never_had_one_is_told_apart(ask: Any, chain: Path) -> None:
    (chain / "2/certificate.json").unlink()
    assert "missing" in ask("verify", "runs/3", code=5)["message"]
    words = ("transfer", "--method", "conure", "--from", "runs/2", "task=chain_age", *SHORT, "--run", "runs/4")
    told = ask(*words, code=5)
    assert "missing" in told["message"]
    assert not (chain / "4").exists(), "refused before anything was trained"
    ask("transfer", "--method", "head", "--from", "runs/base", "task=chain_gender", *SHORT, "--run", "runs/h")
    told = ask("verify", "runs/h", code=2)
    assert "no certificate" in told["message"]
    assert "userrep prune BASE --method conure" in told["hint"]
    assert ask("verify", "runs/base", code=2)["kind"] == "usage"


@pytest.mark.parametrize("held", ["[]", "{}", '{"format": 1, "tasks": [7]}', '{"format": "1"}', "null", "\x00"])
def test_a_certificate_that_is_none_is_refused(ask: Any, chain: Path, held: str) -> None:
    (chain / "1/certificate.json").write_text(held)
    digest = sha256_of(chain / "1/certificate.json")
    change_json(chain / "1/run.json", lambda record: record.update(certificate=digest))
    assert ask("verify", "runs/1", code=5)["kind"] == "verification"


def test_a_conure_task_of_several_parts_is_certified_too(ask: Any, chain: Path) -> None:
    without = [f"~task.parts.{name}" for name in ("liked", "loved", "occupation")]
    words = ("--from", "runs/1", "task=joint_ml", *without, *SHORT, "--run", "runs/joint")
    ask("transfer", "--method", "conure", *words)
    assert [row["name"] for row in ask("verify", "runs/joint")["tasks"]] == ["next_item", "joint_ml"]


def test_an_edited_config_is_refused(ask: Any, chain: Path) -> None:
    path = chain / "2/config.yaml"
    path.write_text(path.read_text().replace("label: gender", "label: age"))
    assert "config.yaml" in ask("verify", "runs/3", code=5)["message"]
    path.write_text("[")
    assert "config.yaml" in ask("verify", "runs/3", code=5)["message"]


def test_elsewhere_tensors_must_match_and_logits_to_1e_5(ask: Any, chain: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        answer = ask("verify", "runs/3")
        assert {row["logits"] for row in answer["tasks"]} == {"to 1e-05"}
        assert answer["tasks"][0]["made_with"] == {"threads": threads}
        nudge(chain / "1", 1e-3)
        assert "differ by 1.0e-03" in ask("verify", "runs/1", code=5)["message"]
        nudge(chain / "1", -1e-3 + 2e-6)
        assert ask("verify", "runs/1")["tasks"]
    finally:
        torch.set_num_threads(threads)


def nudge(run: Path, amount: float) -> None:
    """Let a certificate of task 1 say that its first logit was another."""

    def change(held: dict[str, Any]) -> None:
        held["tasks"][0]["logits"]["values"][0][0] += amount

    forge_certificate(run, change)


def test_where_it_was_made_logits_must_match_bit_for_bit(ask: Any, chain: Path) -> None:
    forge_certificate(chain / "1", lambda held: held["tasks"][0]["logits"].update(sha256="0" * 64))
    assert "answers otherwise" in ask("verify", "runs/1", code=5)["message"]


def test_a_norm_trained_by_a_hack_is_refused_before_the_run_is_finished(
    ask: Any, chain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = Conure._trained
    monkeypatch.setattr(Conure, "check", lambda self, encoder, phases, objective: None)
    monkeypatch.setattr(Conure, "_trained", lambda self, encoder: (*trained(self, encoder), *vectors(encoder)))
    words = ("--from", "runs/1", "task=chain_age", *SHORT, "--run", "runs/hacked")
    told = ask("transfer", "--method", "conure", *words, code=5)
    assert "which task 1 (next_item) reads" in told["message"]
    assert "norm" in told["message"] or "bias" in told["message"]
    assert json.loads((chain / "hacked/run.json").read_text())["status"] == "running"
    assert not (chain / "hacked/certificate.json").exists()


@pytest.mark.slow
def test_nothing_is_forgotten_after_six_tasks_nor_after_twelve(ask: Any, userrep: Any, workplace: Path) -> None:
    rng, labels = np.random.default_rng(0), [f"label{number}" for number in range(2, 13)]
    people = [f"u{number}" for number in range(60)]
    events = [(user, f"i{rng.integers(20)}", time) for user in people for time in range(rng.integers(8, 15))]
    pl.DataFrame(events, schema=["user", "item", "time"], orient="row").write_csv("events.csv")
    pl.DataFrame({"user": people} | {name: rng.integers(2, size=60) for name in labels}).write_csv("people.csv")
    words = [word for name in labels for word in ("--label", name)]
    tables = ("--from-file", "events.csv", "--users-file", "people.csv")
    assert userrep("preprocess", *tables, "--name", "many", *words).code == 0
    small = ("model.width=8", "model.dilations=[1]", "trainer.epochs=1")
    for made in (
        ("pretrain", "dataset=many", "protocol.events=chain", *small, "--run", "runs/0"),
        ("prune", "runs/0", "--method", "conure", "method.reserve_for=12", "trainer.epochs=1", "--run", "runs/1"),
        *(
            ("transfer", "--method", "conure", "--from", f"runs/{number - 1}",
             "task=chain_gender", f"task.label=label{number}", *SHORT, "--run", f"runs/{number}")
            for number in range(2, 13)
        ),
    ):  # fmt: skip
        told = userrep(*made)
        assert told.code == 0, told.err
    for count in (6, 12):
        answer = userrep("verify", f"runs/{count}", "--json").answer
        assert len(answer["tasks"]) == count
        assert {row["logits"] for row in answer["tasks"]} == {"bit for bit"}
        assert answer["backward_transfer"] == 0.0
    assert answer["free"] == 0.0

"""`userrep plan`: one object or one table, nothing on disk, and one line of cause where it cannot be."""

from pathlib import Path
from typing import Any

import pytest

from userrep.models.packing import packed

SMALL = ("dataset=synthetic", "model.width=8", "model.dilations=[1]", "trainer.batch_size=64", "trainer.epochs=2")


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_plan_is_one_object_and_touches_nothing(ask: Any, prepared_data_dir: Path, workplace: Path) -> None:
    before = files(prepared_data_dir)
    answer = ask("plan", "pretrain", *SMALL, "--run", "runs/x")
    assert answer["verb"] == "plan"
    assert answer["plans"] == "pretrain"
    assert not answer["estimate"]
    memory = answer["memory"]
    together = [part for part in memory["parts"] if part["together"]]
    assert sum(part["bytes"] for part in together) == memory["bytes"] < memory["there"]
    assert sum(part["share"] for part in together) == pytest.approx(1)
    (phase,) = answer["phases"]
    assert phase["epochs"] == 2
    assert phase["probed"] == 20
    assert 0 < phase["epoch"]["low"] < phase["epoch"]["seconds"] < phase["epoch"]["high"]
    assert answer["time"]["seconds"] > 2 * phase["epoch"]["seconds"]
    assert files(prepared_data_dir) == before
    assert not list(workplace.iterdir())


def test_a_transfer_is_planned_from_its_base_phase_by_phase(ask: Any, chain: Path) -> None:
    before = files(chain)
    words = ("transfer", "--method", "conure", "--from", str(chain / "1"), "task=chain_gender")
    answer = ask("plan", *words, "protocol.events=chain", "trainer.epochs=1")
    assert [phase["phase"] for phase in answer["phases"]] == ["train", "prune", "retrain"]
    assert answer["memory"]["bytes"] == max(phase["bytes"] for phase in answer["phases"])
    assert files(chain) == before


def test_a_head_on_a_frozen_encoder_is_read_from_vectors_made_once(ask: Any, chain: Path) -> None:
    answer = ask("plan", "transfer", "--method", "head", "--from", str(chain / "base"), "task=gender",
                 "protocol.events=chain", "trainer.epochs=1")  # fmt: skip
    assert any("frozen encoder" in part["what"] for part in answer["memory"]["parts"])


def test_a_plan_for_a_gpu_is_an_estimate_with_its_source(ask: Any) -> None:
    answer = ask("plan", "pretrain", *SMALL, "--gpu", "A100")
    assert answer["device"] == "a100"
    assert answer["estimate"]
    assert "data sheet" in answer["source"]
    assert answer["assumptions"]
    assert answer["memory"]["there"] == 80e9
    assert answer["phases"][0]["probed"] == 0


def test_padding_is_counted_where_it_is_computed(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr("userrep.models.encoder.packed", lambda *given: made.append(packed(*given)) or made[-1])
    found = {}
    for words in ((), ("--gpu", "A100")):
        made.clear()
        ask("plan", "pretrain", *SMALL, *words)
        found[words] = [one is not None for one in made]
    assert any(found[()])
    assert not any(found["--gpu", "A100"])


def test_weights_that_are_too_much_for_this_machine_are_not_made(ask: Any) -> None:
    answer = ask("plan", "pretrain", "dataset=synthetic", "model.width=200000")
    assert answer["memory"]["fits"] is False
    assert answer["time"] is None
    assert answer["phases"] == []
    assert answer["suggestions"][0]["override"].startswith("model.width")


@pytest.mark.parametrize(
    ("words", "cause", "remedy"),
    [
        (("pretrain", *SMALL, "--gpu", "h1000"), "h1000", "h100-pcie"),
        (("evaluate",), "evaluate", "pretrain, transfer"),
        (("pretrain", *SMALL, "trainer.epoch=3"), "trainer.epoch", "epochs"),
        (("transfer", "tasks=[gender,age]"), "tasks=", "task=NAME"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_in_two_lines(
    ask: Any, words: tuple[str, ...], cause: str, remedy: str
) -> None:
    error = ask("plan", *words, code=2)
    assert cause in error["message"]
    assert remedy in error["hint"]


def test_the_table_says_what_where_and_how_long(userrep: Any, prepared_data_dir: Path) -> None:
    told = userrep("plan", "pretrain", *SMALL, "--data-dir", str(prepared_data_dir))
    assert told.code == 0
    for word in ("item tables", "optimiser state", "activations", "it fits", "20 steps timed", "in all:"):
        assert word in told.out
    assert told.err == ""

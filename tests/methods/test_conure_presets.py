"""The presets of Conure compose for the three verbs of a chain, and a chain by them keeps to one cut."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from userrep.build import build
from userrep.config import compose
from userrep.files import read_json

SHORT = ("trainer.epochs=1", "trainer.validate_users=20")
SMALL = ("dataset=synthetic", "dataset.n_users=80", "model.width=8", "model.dilations=[1]")


@cache
def preset(verb: str, name: str, *overrides: str) -> dict[str, Any]:
    return compose(verb, [f"experiment={name}", *overrides])


@pytest.mark.parametrize(
    ("words", "epochs", "batch", "rate", "retrained"),
    [
        (("pretrain",), 4, 32, 0.001, None),
        (("prune",), 10, 32, 0.001, None),
        (("transfer", "task=cold_k"), 15, 512, 0.0001, 30),
        (("transfer", "task=age"), 30, 512, 0.0001, 50),
        (("transfer", "task=lifestatus"), 30, 512, 0.0001, 50),
    ],
)
def test_the_paper_s_preset_trains_as_the_authors_code(
    words: tuple[str, ...], epochs: int, batch: int, rate: float, retrained: int | None
) -> None:
    config = preset(words[0], "conure_paper", *words[1:])
    trainer = build(config["trainer"])
    assert (trainer.epochs, trainer.batch_size, trainer.lr, trainer.schedule) == (epochs, batch, rate, "constant")
    assert config["protocol"]["events"] == "chain"
    if words[0] != "pretrain":
        method = build(config["method"])
        assert (method.keep, method.count, method.retrain_shared) == (0.3, "official", False)
        assert method.retrain_epochs == retrained


def test_the_paper_s_preset_reads_before_one_cut_and_ranks_by_bpr() -> None:
    task = build(preset("transfer", "conure_paper", "task=cold_k", "task.target=like")["task"])
    assert (task.until, task.target, task.item_loss.table_l2) == ("cut", "like", 0.02)
    encoder = build(preset("pretrain", "conure_paper")["model"], vocab_size=10)
    kernels = [tensor.shape for name, tensor in encoder.named_parameters() if name.endswith("op.weight")]
    assert kernels == [(256, 256, 3)] * 16


def test_the_preset_of_movielens_leaves_its_methods_and_labels_open() -> None:
    config = preset("transfer", "conure_ml", "task=chain_occupation", "method=full")
    assert (config["choices"]["method"], config["protocol"]["readout"]) == ("full", "mean+items")
    config = preset("transfer", "conure_ml", "task=chain_loved", "task.recent=7")
    assert (config["task"]["recent"], config["task"]["start"], config["protocol"]["readout"]) == (7, "shares", "last")
    assert preset("prune", "conure_ml")["protocol"] == preset("pretrain", "conure_ml")["protocol"]


@pytest.mark.slow
def test_a_chain_by_the_preset_keeps_to_one_cut(userrep: Any, workplace: Path) -> None:
    def verb(name: str, *words: str) -> Any:
        told = userrep(name, *words, *(SHORT if name != "preprocess" else ()), "--json")
        assert told.code == 0, told.err
        return told.answer

    assert userrep("preprocess", *SMALL[:2]).code == 0
    verb("pretrain", "experiment=conure_ml", *SMALL, "--run", "base")
    run = verb("prune", "base", "experiment=conure_ml", "--run", "next")["run"]
    for task, cuts in (("chain_liked", {"events"}), ("chain_age", {"events", "users"})):
        run = verb("transfer", "experiment=conure_ml", "--from", run, f"task={task}", "--run", task)["run"]
        splits = read_json(Path(run) / "run.json")["splits"]
        assert set(splits) == cuts
        assert splits["events"]["name"] == "chain"

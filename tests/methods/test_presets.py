"""The presets of PeterRec compose for both of its stages, with the numbers that their sources give."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from userrep.build import build
from userrep.config import compose
from userrep.errors import ConfigError

PRESETS = ("peterrec_paper", "peterrec_official_code", "peterrec_small")
STAGES = {
    "peterrec_paper": ((6, 32, 0.001), (60, 512, 0.001)),
    "peterrec_official_code": ((6, 32, 0.001), (60, 512, 0.0005)),
    "peterrec_small": ((6, 32, 0.003), (3, 64, 0.003)),
}  # epochs, batch and rate of pre-training and of transfer


@cache
def preset(verb: str, name: str, *overrides: str) -> dict[str, Any]:
    return compose(verb, [f"experiment={name}", *overrides])


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_composes_for_both_stages_each_with_its_own_trainer(name: str) -> None:
    stages = {verb: preset(verb, name) for verb in ("pretrain", "transfer")}
    for (verb, config), wanted in zip(stages.items(), STAGES[name], strict=True):
        trainer = build(config["trainer"])
        assert (trainer.epochs, trainer.batch_size, trainer.lr) == wanted
        assert (config["choices"]["trainer"], trainer.patience) == (verb, 0)
    assert stages["pretrain"]["protocol"] == stages["transfer"]["protocol"]


@pytest.mark.parametrize("name", PRESETS)
def test_what_a_user_types_wins_over_what_a_preset_sets_for_the_verb(name: str) -> None:
    trainer = preset("transfer", name, "trainer.epochs=2")["trainer"]
    assert (trainer["epochs"], trainer["batch_size"]) == (2, STAGES[name][1][1])


@pytest.mark.parametrize(
    ("name", "width", "ratio", "activation", "norms", "patches"),
    [
        ("peterrec_paper", 256, 8, "relu", "none", 266_752),
        ("peterrec_official_code", 256, 4, "gelu", "second", 529_408),
        ("peterrec_small", 64, 8, "relu", "none", 17_536),
    ],
)
def test_a_preset_patches_as_its_source_says(
    name: str, width: int, ratio: int, activation: str, norms: str, patches: int
) -> None:
    encoder = build(preset("pretrain", name)["model"], vocab_size=10)
    method = preset("transfer", name)["method"]
    assert (encoder.width, len(encoder.blocks)) == (width, 8)
    assert {key: method[key] for key in ("insertion", "ratio", "activation", "norms", "skip")} == {
        "insertion": "b", "ratio": ratio, "activation": activation, "norms": norms, "skip": True,
    }  # fmt: skip
    build(method).adapt(encoder, "last")
    added = [tensor.numel() for key, tensor in encoder.named_parameters() if ".op.patch." in key]
    assert sum(added) == patches


def apart(folder: Path, text: str) -> Path:
    (folder / "experiment").mkdir()
    (folder / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{text}")
    return folder


def own(folder: Path, text: str) -> Path:
    return apart(folder, f"verb:\n{text}")


def test_what_an_experiment_sets_for_one_verb_leaves_the_others_alone(tmp_path: Path) -> None:
    folder = own(tmp_path, "  pretrain:\n    trainer: {epochs: 77}\n    model: {dilations: [1, 2]}\n")
    config = compose("pretrain", ["experiment=mine"], folder)
    assert (config["trainer"]["epochs"], config["model"]["dilations"]) == (77, [1, 2])
    assert compose("transfer", ["experiment=mine"], folder)["trainer"] == compose("transfer")["trainer"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  pretrian:\n    trainer: {epochs: 7}\n", "unknown verb 'pretrian'"),
        ("  pretrain:\n    trainer: {epocs: 7}\n", "trainer.epocs is no key of Trainer"),
        ("  pretrain:\n    trainer: {epochs: many}\n", "trainer.epochs is 'many'"),
        ("  pretrain:\n    method: {ratio: 4}\n", "pretrain does not use 'method'"),
    ],
)
def test_a_mistake_in_what_is_set_for_one_verb_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        compose("pretrain", ["experiment=mine"], own(tmp_path, text))
    assert caught.value.hint


def test_what_an_experiment_sets_for_one_task_leaves_the_others_alone(tmp_path: Path) -> None:
    text = "trainer: {epochs: 2}\nverb:\n  transfer:\n    trainer: {epochs: 3, lr: 0.5}\n"
    folder = apart(tmp_path, f"{text}for_task:\n  age:\n    trainer: {{epochs: 7}}\n    task: {{norm: layer}}\n")
    mine = ["experiment=mine"]
    age, gender = (compose("transfer", [*mine, f"task={task}"], folder) for task in ("age", "gender"))
    assert (age["trainer"]["epochs"], age["trainer"]["lr"], age["task"]["norm"]) == (7, 0.5, "layer")
    assert (gender["trainer"]["epochs"], gender["trainer"]["lr"], gender["task"]["norm"]) == (3, 0.5, "batch")
    assert age["origins"].items() >= {"trainer.epochs": "experiment mine", "task.norm": "experiment mine"}.items()
    assert compose("transfer", [*mine, "task=age", "trainer.epochs=9"], folder)["trainer"]["epochs"] == 9
    assert compose("pretrain", mine, folder)["trainer"]["epochs"] == 2
    simple = compose("baseline", [*mine, "task=age", "baseline=majority"], folder)
    assert simple["task"]["norm"] == "layer"  # and no word of the trainer, which a baseline has not


def test_a_task_that_an_experiment_chooses_itself_has_its_own_keys_too(tmp_path: Path) -> None:
    text = "defaults:\n  - override /task: age\nfor_task:\n  age: {trainer: {epochs: 7}}\n  gender: {trainer: prune}\n"
    folder = apart(tmp_path, text)
    assert compose("transfer", ["experiment=mine"], folder)["trainer"]["epochs"] == 7
    assert compose("transfer", ["experiment=mine", "task=gender"], folder)["choices"]["trainer"] == "prune"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("for_task:\n  aeg: {trainer: {epochs: 7}}\n", "unknown task 'aeg'"),
        ("for_task:\n  age: {trainer: {epocs: 7}}\n", "trainer.epocs is no key of Trainer"),
        ("for_task:\n  age: {trainr: {epochs: 7}}\n", "unknown key 'trainr'"),
        ("for_task:\n  age: 7\n", "sets no keys below 'for_task'"),
        ("for_task: 7\n", "sets no keys below 'for_task'"),
        ("for_task: [age]\n", "sets no keys below 'for_task'"),
    ],
)
def test_a_mistake_in_what_is_set_for_one_task_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        compose("transfer", ["experiment=mine", "task=age"], apart(tmp_path, text))
    assert caught.value.hint


def test_the_official_code_s_loss_can_be_given_to_a_task_that_ranks_items() -> None:
    keys = {"loss": "logistic", "negatives": 1, "sampler": "uniform", "table_l2": 0.02, "norm": "none"}
    words = [f"task.{key}={value}" for key, value in keys.items()]
    task = preset("transfer", "peterrec_official_code", "task=cold_first", *words)["task"]
    assert task.items() >= keys.items()

"""A yaml builds components and nothing else, and every mistake in it is named."""

from pathlib import Path
from typing import Any

import pytest

from userrep.build import ALLOWED, build, check
from userrep.errors import ConfigError

HOSTILE = (
    "os.system",
    "builtins.eval",
    "builtins.exec",
    "subprocess.run",
    "shutil.rmtree",
    "torch.os.system",
    "torch.load",
    "torch.hub.load",
    "torch.nn.Linear",
    "userrep.files.sha256_of",
    "userrep.files.os.system",
    "userrep.x.os.system",
    "userrep.build.Component.__subclasses__",
    "userrep.build.import_module",
    "userrep.run.Run",
    "userrep.run.record.Run",
    "userrep.__main__.main",
    "userrep.sequences.protocol.Component",
    "userrep..os.system",
    "userrep.sequences.protocol.Protocol.hash",
    "userrep.sequences.protocol.Protocol ",
    "userrep.sequences.protocol.Protocol\n",
    "Protocol",
    "",
    3,
    None,
    ["userrep.sequences.protocol.Protocol"],
)
PROTOCOL = "userrep.sequences.protocol.Protocol"
TRAINER = "userrep.training.trainer.Trainer"


@pytest.mark.parametrize("target", HOSTILE)
def test_hostile_targets_are_refused(target: Any, tmp_path: Path) -> None:
    node = {"_target_": target, "command": f"touch {tmp_path}/done"}
    with pytest.raises(ConfigError):
        build(node, at="model")
    with pytest.raises(ConfigError):
        check(node, "model")
    with pytest.raises(ConfigError):
        check({"_target_": TRAINER, "lr": node}, "trainer")
    assert not (tmp_path / "done").exists()


def test_a_component_is_built_from_plain_values() -> None:
    trainer = build({"_target_": TRAINER, "epochs": 3, "lr": 1}, batch_size=7)
    assert (trainer.epochs, trainer.lr, trainer.batch_size) == (3, 1, 7)


@pytest.mark.parametrize("target", sorted(name for name in ALLOWED if name.startswith("torch.nn.")))
def test_the_named_torch_classes_are_built(target: str) -> None:
    assert type(build({"_target_": target})).__name__ == target.rpartition(".")[2]


def test_an_unknown_key_is_named_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.epohcs is no key of Trainer") as caught:
        check({"_target_": TRAINER, "epohcs": 3}, "trainer")
    assert "did you mean 'epochs'?" in caught.value.hint
    assert "batch_size" in caught.value.hint


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("epochs", "three", "a whole number"),
        ("epochs", 1.5, "a whole number"),
        ("epochs", True, "a whole number"),
        ("lr", "fast", "a number"),
        ("schedule", 3, "text"),
        ("table_lr", "x", "a number or null"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(key: str, value: Any, wanted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check({"_target_": TRAINER, key: value}, "trainer")
    assert caught.value.message == f"trainer.{key} is {value!r}"
    assert caught.value.hint == f"give {wanted}"


def test_an_element_of_a_list_is_checked_too() -> None:
    node = {"_target_": "userrep.models.nextitnet.NextItNet", "dilations": [1, "x"]}
    with pytest.raises(ConfigError, match="dilations"):
        check(node, "model")


def test_missing_keys_are_named_when_building() -> None:
    with pytest.raises(ConfigError, match=r"task\.label is missing"):
        build({"_target_": "userrep.objectives.classify.Classify"}, at="task")
    check({"_target_": "userrep.objectives.classify.Classify"}, "task")
    with pytest.raises(ConfigError, match=r"task\.label is missing"):
        check({"_target_": "userrep.objectives.classify.Classify"}, "task", runtime=())


def test_what_the_program_sets_may_not_be_configured() -> None:
    with pytest.raises(ConfigError, match="set by the program"):
        build({"_target_": TRAINER, "epochs": 3}, epochs=4)


def test_a_value_that_a_component_refuses_is_a_config_error() -> None:
    with pytest.raises(ConfigError):
        build({"_target_": PROTOCOL, "pretrain_users": "nobody"}, at="protocol")


def test_a_node_without_target_is_refused() -> None:
    with pytest.raises(ConfigError, match="no _target_"):
        build({"epochs": 3}, at="trainer")

"""Configs compose to plain values, and a typo never reaches a run."""

import threading
from pathlib import Path
from typing import Any

import pytest

from userrep.config import choices, complete, compose, flag_overrides
from userrep.errors import ConfigError, UsageError
from userrep.groups import GROUPS, VERBS


def refused(verb: str, *overrides: str, config_dir: Path | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        compose(verb, overrides, config_dir)
    assert "\n" not in caught.value.message
    assert "multirun" not in caught.value.message
    return caught.value


def kinds(value: Any) -> set[type]:
    if isinstance(value, dict):
        return {dict} | {kind for item in value.values() for kind in kinds(item)}
    if isinstance(value, list):
        return {list} | {kind for item in value for kind in kinds(item)}
    return {type(value)}


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_composes_to_plain_values_of_the_sections_it_uses(verb: str) -> None:
    chosen = ["baseline=majority"] if verb == "baseline" else []
    config = compose(verb, chosen)
    assert set(config) == {"seed", "origins", "choices", *VERBS[verb].uses}
    assert kinds(config) <= {dict, list, str, int, float, bool, type(None)}


@pytest.mark.parametrize(
    ("verb", "typed", "meant"),
    [("pretrain", "epochs=3", "trainer.epochs=3"), ("transfer", "ratio=4", "method.ratio=4")],
)
def test_a_key_without_its_group_is_answered_with_the_whole_name(verb: str, typed: str, meant: str) -> None:
    with pytest.raises(ConfigError, match="unknown key") as refused:
        compose(verb, [typed])
    assert meant in refused.value.hint


def test_origins_name_the_keys_that_were_set_and_the_files_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "mine.yaml").write_text("defaults: [pretrain]\nepochs: 2\n")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "tiny.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /protocol: next_item\nmodel:\n  width: 32\n  dilations: [1]\n"
    )
    words = ["experiment=tiny", "trainer=mine", "trainer.lr=0.1", "model.dilations=[1,2]", "seed=3"]
    assert compose("pretrain", words, tmp_path)["origins"] == {
        "protocol": "experiment tiny",
        "model.width": "experiment tiny",
        "model.dilations": "override",
        "trainer": "override",
        "trainer.lr": "override",
        "seed": "override",
        "trainer/mine": str(tmp_path / "trainer" / "mine.yaml"),
    }
    assert compose("pretrain")["origins"] == {}


def test_a_verb_brings_its_own_trainer_unless_one_is_named() -> None:
    assert compose("transfer")["choices"]["trainer"] == "transfer"
    assert compose("prune")["choices"] | {"trainer": "prune", "method": "prune"} == compose("prune")["choices"]
    assert compose("transfer", ["trainer=pretrain"])["choices"]["trainer"] == "pretrain"


def test_the_task_is_left_to_the_stage_unless_chosen() -> None:
    assert compose("transfer")["task"] is None
    assert compose("transfer", ["task=gender"])["task"]["label"] == "gender"


def test_overrides_change_values() -> None:
    config = compose("pretrain", ["trainer.epochs=3", "seed=7", "model.dilations=[1,2]"])
    assert config["trainer"]["epochs"] == 3
    assert config["seed"] == 7
    assert config["model"]["dilations"] == [1, 2]


def test_a_key_that_the_yaml_leaves_out_may_be_set_if_the_class_takes_it() -> None:
    assert "row_limit" not in compose("preprocess")["dataset"]
    assert compose("preprocess", ["dataset.ties=random"])["dataset"]["ties"] == "random"
    assert compose("preprocess", ["+dataset.ties=random"])["dataset"]["ties"] == "random"


@pytest.mark.parametrize(
    ("override", "message", "hint"),
    [
        ("modle=nextitnet", "unknown key 'modle'", "did you mean 'model'?"),
        ("sede=1", "unknown key 'sede'", "did you mean 'seed'?"),
        ("++typo=1", "unknown key 'typo'", "choose from"),
        ("+typo.a=1", "unknown key 'typo'", "choose from"),
        ("model=nextitnte", "unknown model 'nextitnte'", "did you mean 'nextitnet'?"),
        ("model=null", "unknown model None", "nextitnet"),
        ("model=[nextitnet]", "unknown model", "nextitnet"),
        ("~model", "no model was chosen", "nextitnet"),
        ("model.widht=3", "model.widht is no key of NextItNet", "did you mean 'width'?"),
        ("++model.widht=3", "model.widht is no key of NextItNet", "did you mean 'width'?"),
        ("model.width.x=3", "unknown key 'model.width.x'", ""),
        ("trainer.epochs=many", "trainer.epochs is 'many'", "give a whole number"),
        ("seed=1,2", "seed=1,2 asks for several runs", "run once for each"),
        ("trainer.epochs=range(1,3)", "asks for several runs", "run once for each"),
        ("seed=x", "seed is 'x'", "whole number"),
        ("seed=-1", "seed is -1", "at least 0"),
        ("ml-1m", "cannot read the override 'ml-1m'", "did you mean dataset=ml-1m?"),
        ("seed", "cannot read the override 'seed'", "key=value"),
        ("a b", "cannot read the override 'a b'", "key=value"),
        ("", "cannot read the override ''", "key=value"),
        ("trainer.lr=" + "[" * 5_000 + "]" * 5_000, "cannot read the override", "key=value"),
        ("method=full", "pretrain does not use 'method'", "leave 'method=full' out"),
        ("hydra.searchpath=[x]", "unknown key 'hydra'", ""),
        ("hydra/launcher=x", "nested groups are not used", ""),
        ("model@objective=nextitnet", "packages", ""),
        ("trainer.lr=${oc.env:HOME}", "trainer.lr is '${oc.env:HOME}'", "only references"),
        ("trainer.lr=${oc.decode:1}", "trainer.lr is", "only references"),
        ("trainer.lr=${hydra:runtime.cwd}", "trainer.lr is", "only references"),
        ("trainer.lr=${trainer.lrr}", "lrr", ""),
        ("trainer.lr=???", "trainer.lr is missing", "trainer.lr=..."),
        ("model._target_=torch.os.system", "model._target_ is 'torch.os.system'", "component"),
        ("model._target_=userrep.x.os.system", "model._target_ is", "component"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(override: str, message: str, hint: str) -> None:
    error = refused("pretrain", override)
    assert message in error.message
    assert hint in error.hint


def test_a_reference_to_another_key_is_resolved() -> None:
    assert compose("pretrain", ["trainer.batch_size=${model.width}"])["trainer"]["batch_size"] == 64


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_users_folder_adds_choices_and_stands_in_front(tmp_path: Path) -> None:
    node = "_target_: userrep.training.trainer.Trainer\nepochs: 99\n"
    folder = write(tmp_path, trainer__pretrain=node, trainer__mine=node)
    assert compose("pretrain")["trainer"]["epochs"] != 99
    assert compose("pretrain", (), folder)["trainer"] == {
        "_target_": "userrep.training.trainer.Trainer",
        "epochs": 99,
    }
    assert compose("pretrain", ["trainer=mine"], folder)["choices"]["trainer"] == "mine"
    assert "mine" in refused("pretrain", "trainer=other", config_dir=folder).hint
    assert compose("pretrain")["trainer"]["epochs"] != 99


def test_an_experiment_changes_groups_and_keys_together(tmp_path: Path) -> None:
    text = "# @package _global_\ndefaults:\n  - override /trainer: mine\nseed: 5\nprotocol:\n  history: 7\n"
    node = "_target_: userrep.training.trainer.Trainer\nepochs: 99\n"
    folder = write(tmp_path, experiment__short=text, trainer__mine=node)
    config = compose("transfer", ["experiment=short"], folder)
    assert (config["seed"], config["protocol"]["history"], config["trainer"]["epochs"]) == (5, 7, 99)
    assert compose("transfer", ["experiment=short", "seed=6"], folder)["seed"] == 6


def test_an_experiment_stands_on_others_with_what_they_set_for_a_verb_or_a_task_alone(tmp_path: Path) -> None:
    below = (
        "# @package _global_\ndefaults:\n  - override /task: gender\ntrainer: {epochs: 4, lr: 0.5}\n"
        "verb: {transfer: {trainer: {warmup: 0.25}}}\nfor_task: {age: {trainer: {epochs: 5, batch_size: 7}}}\n"
    )
    above = (
        "# @package _global_\ndefaults:\n  - below\n  - override /task: age\ntrainer: {lr: 0.25}\n"
        "for_task: {age: {trainer: {epochs: 6}}}\n"
    )
    folder = write(tmp_path, experiment__below=below, experiment__above=above)
    config = compose("transfer", ["experiment=above"], folder)
    found = {key: config["trainer"][key] for key in ("epochs", "batch_size", "lr", "warmup")}
    assert found == {"epochs": 6, "batch_size": 7, "lr": 0.25, "warmup": 0.25}
    assert (config["choices"]["task"], config["origins"]["trainer.batch_size"]) == ("age", "experiment above")
    missing = write(tmp_path, experiment__alone="# @package _global_\ndefaults:\n  - nowhere\n")
    assert "nowhere" in refused("transfer", "experiment=alone", config_dir=missing).message
    circle = write(tmp_path, experiment__one=_on("two"), experiment__two=_on("/experiment/one"))
    assert "experiment one stands on itself" in refused("transfer", "experiment=one", config_dir=circle).message


def _on(below: str) -> str:
    return f"# @package _global_\ndefaults:\n  - {below}\n"


def test_what_an_experiment_misspells_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, experiment__bad="# @package _global_\ntypo: 1\n")
    assert "unknown key 'typo'" in refused("pretrain", "experiment=bad", config_dir=folder).message


def test_a_broken_or_wrong_folder_is_named(tmp_path: Path) -> None:
    assert "is no folder" in refused("pretrain", config_dir=tmp_path / "missing").message
    assert "holds no config group" in refused("pretrain", config_dir=tmp_path).message
    folder = write(tmp_path, trainer__broken="a: [")
    told = refused("pretrain", "trainer=broken", config_dir=folder).message
    assert f"{tmp_path}/trainer/broken.yaml, line 1, is not valid YAML" in told
    folder = write(tmp_path, trainer__deep="a: " + "[" * 5_000 + "]" * 5_000)
    assert "nested without end" in refused("pretrain", "trainer=deep", config_dir=folder).message
    folder = write(tmp_path, trainer__empty="epochs: 3")
    told = refused("pretrain", "trainer=empty", config_dir=folder).message
    assert told == "the trainer that was chosen names no class"


def test_composing_leaves_no_state_behind_even_in_threads() -> None:
    refused("pretrain", "model=x")
    seeds: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: seeds.append(compose("preprocess", [f"seed={n}"])["seed"]))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seeds) == [0, 1, 2, 3]


def test_flags_fold_into_overrides_and_may_not_disagree() -> None:
    assert flag_overrides(["a.b=1"], model="x", task=None, seed=3) == ("a.b=1", "model=x", "seed=3")
    assert flag_overrides(["model=x"], model="x") == ("model=x",)
    with pytest.raises(UsageError, match="--model y and model=x disagree"):
        flag_overrides(["model=x"], model="y")


@pytest.mark.parametrize("group", [group for group in GROUPS if group not in ("experiment", "baseline")])
def test_every_group_has_choices(group: str) -> None:
    assert choices(group)


def test_completion_knows_groups_and_choices() -> None:
    assert complete("mod") == ["model="]
    assert "model=nextitnet" in complete("model=next")
    assert complete("model=zzz") == []
    assert complete("zzz=") == []
    assert complete("method=", verb="pretrain") == []
    assert "seed=" in complete("")


def test_completion_works_where_bash_splits_words_at_the_equals_sign() -> None:
    assert "nextitnet" in complete("=", ["model"])
    assert "nextitnet" in complete("next", ["trainer.epochs=3", "model", "="])
    assert complete("next", ["other", "="]) == []

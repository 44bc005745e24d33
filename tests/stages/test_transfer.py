"""Transfer and prune through the command line: every method, what is printed, what is refused, who depends on whom."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from userrep.build import build
from userrep.cli import main
from userrep.files import read_json, read_yaml, write_json, write_yaml
from userrep.groups import choices, conf_dir
from userrep.methods.prune import sparsity
from userrep.run import open_run
from userrep.sequences.store import Prepared
from userrep.stages.restore import restore
from userrep.training.weights import read_weights

SMALL = ("model.width=16", "model.dilations=[1,2]", "trainer.batch_size=64", "trainer.epochs=2")
BUILT = {name: build(read_yaml(conf_dir() / "method" / f"{name}.yaml")) for name in choices("method")}
METHODS = [name for name, method in BUILT.items() if method.verbs[0] == "transfer"]  # the others begin elsewhere
KINDS = {type(BUILT[name]): name for name in METHODS}  # one method of each class
PROMISED = (
    "base",
    "method",
    "task",
    "trainable",
    "trainable_share",
    "delta_bytes",
    "metrics",
    "verb",
    "run",
    "seconds",
)


@pytest.fixture
def small(userrep: Any, prepared_data_dir: Path) -> Any:
    """Run a verb on the prepared data set and expect it to succeed."""

    def run(*words: str, code: int = 0) -> Any:
        told = userrep(*words, "--data-dir", str(prepared_data_dir), "--json")
        assert told.code == code, told.err
        return told.answer if code == 0 else told.error

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, prepared_data_dir: Path) -> Path:
    """A folder with a pre-trained run, `base`, and a baseline, `majority`; for copying."""
    folder = tmp_path_factory.mktemp("made")
    pretrain = ("pretrain", "dataset=synthetic", *SMALL, "--run", str(folder / "base"))
    baseline = ("baseline", "majority", "dataset=synthetic", "task=gender", "--run", str(folder / "majority"))
    for words in (pretrain, baseline):
        with pytest.raises(SystemExit) as ended:
            main([*words, "--data-dir", str(prepared_data_dir)])
        assert not ended.value.code
    return folder


@pytest.fixture
def base(made: Path, workplace: Path) -> Path:
    for name in ("base", "majority"):
        shutil.copytree(made / name, workplace / name)
    return Path("base")


def test_every_method_goes_from_pretraining_to_comparison(small: Any, base: Path) -> None:
    runs, weights = [], (base / "model.safetensors").read_bytes()
    for method in METHODS:
        words = ("--method", method, "--from", str(base), "task=gender", "trainer.epochs=1")
        answer = small("transfer", *words, "--run", method)
        assert set(PROMISED) <= set(answer)
        assert (answer["base"], answer["method"], answer["task"]) == (str(base), method, "gender")
        assert answer["delta_bytes"] == (Path(method) / "delta.safetensors").stat().st_size
        assert 0 < answer["trainable_share"] <= 2  # copies and a policy are more than so small a base
        assert {"accuracy", "macro_f1", "log_loss", "auc"} <= set(answer["metrics"])
        measured = small("evaluate", method)
        assert {"accuracy", "macro_f1", "log_loss", "auc"} <= set(measured["metrics"])
        assert measured["split"] == "test"
        runs.append(method)
    compared = small("compare", *runs, "majority")
    assert len(compared["arms"]) == len(METHODS) + 1
    assert (base / "model.safetensors").read_bytes() == weights
    sizes = {method: read_json(Path(method) / "run.json")["trainable"] for method in METHODS}
    assert sizes["head"] < sizes["peterrec"] < sizes["last"] < sizes["full"] == sizes["scratch"]


def test_a_delta_holds_what_the_method_trained_or_added_and_no_more(small: Any, base: Path) -> None:
    small(
        "transfer", "--method", "peterrec", "--from", "base", "trainer.epochs=1", "protocol.readout=token", "--run", "p"
    )
    names = set(read_weights(Path("p") / "delta.safetensors"))
    assert all(".patch." in name or name == "encoder.token" for name in names if name.startswith("encoder."))
    small("transfer", "--method", "head", "--from", "base", "trainer.epochs=1", "--run", "h")
    assert not any(name.startswith("encoder.") for name in read_weights(Path("h") / "delta.safetensors"))


def test_the_reported_validation_metrics_are_those_of_the_written_weights(
    small: Any, base: Path, prepared: Prepared
) -> None:
    for method in ("peterrec", "scratch"):
        answer = small("transfer", "--method", method, "--from", "base", "trainer.epochs=2", "--run", method)
        again = small("evaluate", method, "--split", "valid")
        assert again["metrics"] == answer["metrics"]


def test_a_restored_run_encodes_alike_every_time(small: Any, base: Path, prepared: Prepared) -> None:
    small("transfer", "--method", "last", "--from", "base", "trainer.epochs=1", "--run", "child")
    items = torch.randint(2, 60, (4, 9))
    states = []
    for _ in range(2):
        encoder, _ = restore(open_run("child"), prepared)
        with torch.no_grad():
            states.append(encoder.user(items))
    assert torch.equal(*states)


def test_a_transfer_of_a_transfer_builds_on_all_before(small: Any, base: Path, prepared: Prepared) -> None:
    small("transfer", "--method", "peterrec", "--from", "base", "task=gender", "trainer.epochs=1", "--run", "one")
    small("transfer", "--method", "last", "--from", "one", "task=age", "trainer.epochs=1", "--run", "two")
    encoder, objective = restore(open_run("two"), prepared)
    assert objective.task_name == "age"
    assert any(".patch." in name for name, _ in encoder.named_parameters())
    small("evaluate", "two")


def test_pruning_reports_three_stages_and_exports_a_plain_encoder(small: Any, base: Path, prepared: Prepared) -> None:
    answer = small("prune", "base", "--keep", "0.25", "trainer.epochs=2", "--run", "sparse", "--export", "plain")
    assert set(answer["stages"]) == {"before", "pruned", "retrained"}
    assert answer["sparsity"] == pytest.approx(0.75, abs=0.01)
    recorded = read_json(base / "run.json")["metrics"]["ndcg@10"]
    assert answer["stages"]["before"] == recorded
    weights = read_weights(Path("plain") / "model.safetensors")
    assert not any("parametrizations" in name for name in weights)
    kernels = [tensor for name, tensor in weights.items() if name.endswith("op.weight")]
    assert np.mean([float((kernel == 0).float().mean()) for kernel in kernels]) == pytest.approx(0.75, abs=0.01)
    items = torch.randint(2, 60, (4, 9))
    with torch.no_grad():
        sparse, plain = (restore(open_run(run), prepared)[0](items) for run in ("sparse", "plain"))
    assert torch.equal(sparse, plain)
    for source in ("sparse", "plain"):
        small("transfer", "--from", source, "--method", "peterrec", "trainer.epochs=1", "--run", f"from-{source}")
        small("evaluate", f"from-{source}")


def test_what_was_pruned_can_be_pruned_again_and_its_masks_are_kept(small: Any, base: Path, prepared: Prepared) -> None:
    small("prune", "base", "--keep", "0.5", "trainer.epochs=1", "--run", "half")
    answer = small("prune", "half", "--keep", "0.2", "trainer.epochs=1", "--run", "fifth")
    assert answer["sparsity"] > 0.79
    assert sparsity(restore(open_run("fifth"), prepared)[0]) == answer["sparsity"]
    masks = [name for name in read_weights(Path("fifth") / "delta.safetensors") if name.endswith("mask")]
    assert len(masks) == 4
    small("transfer", "--from", "half", "--method", "peterrec", "trainer.epochs=1", "--run", "patched")
    assert not any(name.endswith("mask") for name in read_weights(Path("patched") / "delta.safetensors"))


@pytest.mark.parametrize(
    ("words", "wrong", "right"),
    [
        (("transfer", "--from", "base", "--method", "prune"), "not for transfer", "userrep prune base"),
        (("transfer", "--from", "base", "method=prune", "method.keep=1"), "prune", "userrep prune base method.keep=1"),
        (("prune", "base", "method=lora"), "not for prune", "userrep transfer --from base method=lora"),
    ],
)
def test_a_method_of_another_verb_is_refused_with_the_command_to_type(
    small: Any, base: Path, words: tuple[str, ...], wrong: str, right: str
) -> None:
    error = small(*words, "--run", "child", code=2)
    assert error["kind"] == "usage"
    assert wrong in error["message"]
    assert error["hint"] == f"type: {right}"
    assert not Path("child").exists()


@pytest.mark.parametrize("method", KINDS.values())
def test_every_method_learns_the_next_item_too(small: Any, base: Path, method: str) -> None:
    words = ("--from", "base", "--method", method, "task=next_item", "task.tied=false", "trainer.epochs=1")
    answer = small("transfer", *words, "--run", "child")
    assert small("evaluate", "child", "--split", "valid")["metrics"] == answer["metrics"]


def test_a_token_that_the_task_does_not_read_is_nothing_to_train(small: Any, base: Path) -> None:
    words = ("--from", "base", "--method", "head", "task=next_item", "protocol.readout=token")
    assert "nothing to train" in small("transfer", *words, code=2)["message"]


def test_two_bases_of_unlike_training_give_bare_transfers_of_their_own(small: Any, workplace: Path) -> None:
    found = set()
    for epochs in (1, 2):
        small("pretrain", "dataset=synthetic", *SMALL, f"trainer.epochs={epochs}")
        found.add(small("transfer", "trainer.epochs=1")["run"])
    assert len(found) == 2


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("prune", "base", "--keep", "0.5", "protocol.fold=1"), "protocol"),
        (("prune", "base", "--keep", "0.5", "dataset.min_user_events=5"), "dataset.min_user_events"),
        (("prune", "base", "--keep", "0.5", "objective=next_item_sampled"), "objective"),
        (("prune", "base", "--keep", "0.5", "dataset=ml-1m"), "dataset"),
        (("transfer", "--from", "base", "dataset.min_user_events=5"), "dataset.min_user_events"),
        (("transfer", "--from", "base", "dataset=ml-1m"), "dataset"),
        (("transfer", "--from", "base", "model.width=32"), "model"),
    ],
)
def test_an_override_of_what_the_base_decides_is_refused_not_ignored(
    small: Any, base: Path, words: tuple[str, ...], part: str
) -> None:
    error = small(*words, code=2)
    assert part in error["message"]


def test_naming_what_the_base_has_is_no_disagreement(small: Any, base: Path) -> None:
    words = ("--from", "base", "dataset=synthetic", "dataset.n_users=300", "model.dilations=[1,2]", "trainer.epochs=1")
    assert small("transfer", *words)["task"] == "gender"


@pytest.mark.parametrize("where", ["pretrain", "transfer"])
def test_a_diverging_run_is_exit_4_and_leaves_no_weights(small: Any, base: Path, where: str) -> None:
    words = {
        "pretrain": ("pretrain", "dataset=synthetic", *SMALL),
        "transfer": ("transfer", "--method", "full", "--from", "base"),
    }[where]
    error = small(*words, "trainer.lr=1e30", "trainer.clip=0", "trainer.warmup=0", "--run", "wild", code=4)
    assert error["kind"] == "diverged"
    assert "lr" in error["hint"]
    assert not list(Path("wild").glob("model.*")) + list(Path("wild").glob("delta.*"))


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (("transfer", "--from", "nowhere"), 2, "nowhere"),
        (("transfer", "--from", "."), 2, "no run"),
        (("transfer", "--from", "majority"), 2, "baseline"),
        (("transfer", "--from", "base", "task.metric=acuracy"), 2, "acuracy"),
        (("transfer", "--from", "base", "task=occupation"), 3, "occupation"),
        (("transfer", "--from", "base", "method.ratio=100"), 2, "patch"),
        (("transfer", "--from", "base", "protocol.readout=max"), 2, "max"),
        (("transfer", "--from", "base", "protocol.fold=9"), 3, "fold 9"),
        (("transfer", "--from", "base", "--device", "tpu"), 2, "tpu"),
        (("transfer", "--from", "base", "--method", "head", "task=next_item"), 2, "nothing to train"),
        (("prune", "base", "--keep", "1.5"), 2, "1.5"),
        (("prune", "majority", "--keep", "0.5"), 2, "baseline"),
    ],
)
def test_what_cannot_be_adapted_is_refused_and_nothing_is_left(
    small: Any, base: Path, words: tuple[str, ...], code: int, part: str
) -> None:
    error = small(*words, "--run", "child", code=code)
    assert part in error["message"]
    assert error["hint"]
    assert not Path("child").exists()


def test_other_data_than_the_base_s_are_refused(small: Any, userrep: Any, base: Path, tmp_path: Path) -> None:
    prepared = ("preprocess", "dataset=synthetic", "--data-dir", str(tmp_path / "other"))
    assert userrep(*prepared).code == 0
    meta = next((tmp_path / "other").glob("prepared/*/meta.json"))
    meta.write_text(meta.read_text().replace(read_json(meta)["hash"], "0" * 64))
    told = userrep("transfer", "--from", "base", "--data-dir", str(tmp_path / "other"), "--json")
    assert told.code == 3
    assert "was trained on synthetic" in told.error["message"]


def test_metrics_are_equal_to_the_bit_whatever_batch_the_config_names(small: Any, base: Path, workplace: Path) -> None:
    small("transfer", "--method", "peterrec", "--from", "base", "trainer.epochs=1", "--run", "child")
    for run in ("base", "child"):
        found = []
        for size in (1, 7, 256):
            copy = workplace / f"{run}-{size}"
            shutil.copytree(run, copy)
            config = read_yaml(copy / "config.yaml")
            config["trainer"]["batch_size"] = size
            write_yaml(copy / "config.yaml", config)
            found.append(small("evaluate", str(copy))["metrics"])
        assert found[0] == found[1] == found[2]


def test_a_base_that_has_learned_from_the_tested_users_is_warned_of(
    made: Path, userrep: Any, workplace: Path, prepared_data_dir: Path
) -> None:
    words = ("transfer", "--method", "head", "task=gender", "trainer.epochs=1", "--from", str(made / "base"))
    for fold, warned in ((0, False), (1, True)):
        told = userrep(*words, f"protocol.fold={fold}", "--data-dir", str(prepared_data_dir))
        assert told.code == 0, told.err
        assert ("the fold that it held out is protocol.fold=0" in told.err) == warned


def test_without_a_base_the_newest_of_the_data_set_that_was_asked_for_is_taken(
    made: Path, userrep: Any, workplace: Path, prepared_data_dir: Path
) -> None:
    shutil.copytree(made / "base", "runs/base")
    shutil.copytree(made / "base", "runs/other")
    record = read_json("runs/other/run.json")
    later = {"created": "9999", "choices": record["choices"] | {"dataset": "ml-100k"}}
    write_json("runs/other/run.json", record | later)
    words = ("transfer", "--method", "head", "--dry-run", "--data-dir", str(prepared_data_dir), "--json")
    assert userrep(*words).answer["base"] == "runs/other"
    assert userrep(*words, "dataset=synthetic").answer["base"] == "runs/base"
    told = userrep(*words, "dataset=ml-1m")
    assert (told.code, told.error["message"]) == (2, "there is no finished pretrain run with dataset=ml-1m below runs")

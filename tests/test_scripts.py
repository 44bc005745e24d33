"""The scripts that make the tables of results: every command they would type is one, and their arithmetic."""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from userrep.build import build
from userrep.config import compose

TOP = Path(__file__).parent.parent
TABLES = ("profiles", "cross_domain", "curves", "conure", "clue", "uaf", "objectives")
FLAGS = {"--method": "method", "--task": "task"}


@pytest.fixture(scope="module", autouse=True)
def scripts() -> Iterator[None]:
    """Import the scripts as they import one another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOP / "scripts"))
        yield
    for name in ("cells", *(f"results_{table}" for table in TABLES)):
        sys.modules.pop(name, None)


@pytest.fixture
def options(tmp_path: Path) -> Namespace:
    runs = {"runs": tmp_path, "profiles": tmp_path / "profiles", "cross": tmp_path / "cross"}
    return Namespace(**runs, readout="mean+items", labels=1.0, fold=2, settled=False)


def typed(command: tuple[str, ...]) -> dict[str, Any]:
    """Compose what a command asks for, as the command line does."""
    verb, *words = command
    overrides = []
    while words:
        word = words.pop(0)
        if word.startswith("--"):
            value = words.pop(0)
            overrides += [f"{FLAGS[word]}={value}"] if word in FLAGS else []
        else:
            overrides.append(word if "=" in word else f"baseline={word}")
    keys = [text.partition("=")[0] for text in overrides]
    assert len(keys) == len(set(keys)), f"{verb} says something twice: {keys}"
    return compose(verb, overrides)


def test_every_command_of_the_cross_domain_tables_is_one(options: Namespace) -> None:
    cross = import_module("results_cross_domain")
    config = typed(cross.base("food-kitchen", "sasrec", options).command)
    assert (config["protocol"]["source"], config["protocol"]["pretrain_users"]) == ("food", "source_only")
    assert cross.base("food-kitchen", "sasrec", options, fold=3) == cross.base("food-kitchen", "sasrec", options)
    for arm in cross.ARMS["nextitnet"]:
        tried = cross.trials(arm, "kitchen-food", "cold_first", "nextitnet", options)
        assert len(tried) == len({cell.path for cell in tried}) == len(cross.settings(arm, "cold_k_both")) == 4
    for arm in ("lora", "scratch"):
        config = typed(cross.trials(arm, "kitchen-food", "cold_first", "nextitnet", options)[-1].command)
        assert [build(config[key]) for key in ("trainer", "method")]
    for direction, task in product(cross.DIRECTIONS, ("cold_first", "cold_k_both")):
        arm = cross.transfer("head", direction, task, "nextitnet", 3, ("trainer.lr=0.1",), options)
        simple = cross.baseline("ridge", direction, task, 3, options)
        left, right = typed(arm.command), typed(simple.command)
        assert left["protocol"] == right["protocol"]
        assert left["protocol"]["fold"] == 3
        assert build(left["task"]).task_name == build(right["task"]).task_name


def test_what_was_chosen_is_one_of_the_trials_and_needs_none(options: Namespace) -> None:
    cross = import_module("results_cross_domain")
    options.settled = True
    for (direction, task, model), own in cross.CHOSEN.items():
        variants = (arm for arm, settled_by in cross.SETTLED_BY.items() if settled_by in own)
        for arm in (*own, *variants):
            found = cross.chosen(arm, direction, task, model, options)
            assert found in cross.settings(arm, task)
            rate, kept = own.get(arm, own["peterrec"])
            assert [float(text.rpartition("=")[2]) for text in found[:2]] == [rate, kept]
    by_day = cross.chosen("full", "kitchen-food-by-day", "cold_k_both", "nextitnet", options)
    assert by_day == cross.chosen("full", "kitchen-food", "cold_k", "nextitnet", options)
    back = cross.chosen("full", "food-kitchen", "cold_k", "nextitnet", options)
    assert back == cross.chosen("full", "kitchen-food", "cold_k", "nextitnet", options)
    untried = cross.trials("lora", "kitchen-food", "cold_k", "sasrec", options)
    assert [cell.overrides[0] for cell in untried] == ["trainer.lr=0.001", "trainer.lr=0.003"]
    assert cross.written_down("lora", ("kitchen-food", "cold_k", "sasrec"), options) is None
    other = cross.trials("full", "food-kitchen", "cold_first", "nextitnet", options)
    assert [cell.overrides[0] for cell in other] == ["trainer.lr=0.0003", "trainer.lr=0.001"]
    assert {cell.overrides[1] for cell in other} == {"trainer.table_weight_decay=0.0"}


def test_a_base_for_each_fold_learns_from_its_training_users(options: Namespace) -> None:
    cross = import_module("results_cross_domain")
    by_day = "kitchen-food-by-day"
    cell = cross.base(by_day, "nextitnet", options, fold=3)
    config = typed(cell.command)
    assert (config["protocol"]["fold"], config["protocol"]["pretrain_users"]) == (3, "train")
    arm = cross.transfer("full", by_day, "cold_first", "nextitnet", 3, ("trainer.lr=0.1",), options)
    assert str(cell.path) in arm.command
    assert typed(arm.command)["task"]["cut"] == "time"


def finished(cell: Any, **record: Any) -> None:
    """Leave the record of a finished run."""
    cell.path.mkdir(parents=True, exist_ok=True)
    (cell.path / "run.json").write_text(json.dumps({"status": "finished", **record}))


def test_a_run_of_another_command_is_no_cell_and_ends_the_script(tmp_path: Path, options: Namespace) -> None:
    cells = import_module("cells")
    first = cells.Cell(tmp_path / "base", ("pretrain", "trainer.epochs=20"))
    finished(first)
    cells.run([first], options)  # made before commands were kept
    first.made_by.write_text(json.dumps(first.command))
    cells.run([first], options)
    with pytest.raises(SystemExit, match="made by another command"):
        cells.run([cells.Cell(first.path, ("pretrain", "trainer.epochs=40"))], options)


def routed_as_well(cell: Any, value: float) -> None:
    """Leave what a run of so good a validation leaves whose users choose their blocks."""
    finished(cell, metrics={"ndcg@10": value})
    lines = [{"best": best, "route:usage": usage} for best, usage in ((True, 0.9), (True, 0.375), (False, 0.1))]
    (cell.path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_every_command_of_the_routed_users_is_one_and_says_what_validation_chose(options: Namespace) -> None:
    routed = import_module("results_uaf")
    for tune, better in (("copy", 1), ("patch", 0)):
        for place, cell in enumerate(routed.trials(tune, options)):
            routed_as_well(cell, 0.1 + 0.1 * (place == better))
    for place, cell in enumerate(routed.remedies(options)):
        routed_as_well(cell, 0.1 * place)
    for name in ("kitchen-food", "ml"):
        setting = routed.SETTINGS[name]
        cells = {arm: routed.transfer(arm, name, 3, options) for arm in setting.arms if arm != "random"}
        routed_as_well(routed.transfer("hard-copy", name, 0, options), 0.1)
        cells["random"] = routed.random(name, 3, options)
        assert len({cell.path for cell in cells.values()}) == len(setting.arms)
        some = {arm: typed(cells[arm].command) for arm in ("full", "random", "remedied")}  # a composition takes long
        methods = {arm: build(found["method"]) for arm, found in some.items()}
        assert methods["random"].usage == 0.375
        assert (methods["random"].policy_rate, methods["remedied"].temperature_end) == (1.0, 5.0)
        simple = typed(routed.baseline("ridge", name, 3, options).command)
        assert {json.dumps(found["protocol"]) for found in (*some.values(), simple)} == {
            json.dumps(some["full"]["protocol"])
        }
        assert some["full"]["protocol"]["fold"] == 3
        assert build(simple["task"]).task_name == build(some["full"]["task"]).task_name
    soft = typed(routed.transfer("soft-patch", "kitchen-food", 0, options).command)["method"]
    assert (soft["strategy"], soft["tune"], soft["policy_rate"]) == ("soft", "patch", 0.1)


@pytest.mark.parametrize("task", ["gender", "age", "cold_first"])
def test_arms_of_a_label_curve_share_protocol_labels_and_seed(options: Namespace, task: str) -> None:
    curves = import_module("results_curves")
    settings = {arm: ("trainer.lr=0.1", "trainer.epochs=3") for arm in curves.ARMS}
    seen = []
    for arm in ("head", *curves.CURVES[task].baselines):
        config = typed(curves._cell(task, arm, 0.05, 7, settings, options).command)
        assert (config["seed"], config["task"]["label_fraction"], config["task"]["label_draw"]) == (7, 0.05, 7)
        seen.append((config["protocol"], config["task"]["_target_"], config["protocol"]["fold"]))
    assert all(one == seen[0] for one in seen)
    assert seen[0][2] == 2


def test_fewer_labels_are_trained_on_as_often() -> None:
    curves = import_module("results_curves")
    settings = ("trainer.epochs=3", "trainer.lr=0.1")
    labels = 4_000
    for fraction in curves.FRACTIONS:
        kept = dict(text.split("=") for text in curves.as_many_updates(settings, fraction))
        updates = int(kept["trainer.epochs"]) * fraction * labels / int(kept["trainer.batch_size"])
        assert 3 * labels / 64 <= updates <= 4 / 3 * 3 * labels / 64, fraction
    assert curves.as_many_updates(settings, 1.0)[:2] == settings


def test_a_table_holds_means_bands_and_paired_differences() -> None:
    curves = import_module("results_curves")
    rng = np.random.default_rng(0)
    draws = rng.normal(size=10)
    points = [
        {"task": "gender", "arm": arm, "fraction": 0.05, "draw": draw, "metrics": dict.fromkeys(metrics, value + shift)}
        for metrics in [curves.CURVES["gender"].metrics]
        for arm, shift in [("peterrec", 0.25), ("full", 0.0), ("scratch", 0.0), ("head", 0.0), ("svd_lr", 0.0)]
        for draw, value in enumerate(draws)
    ]
    mean, half = curves.band(draws)
    assert mean == pytest.approx(draws.mean())
    assert half == pytest.approx(2.262157 * draws.std(ddof=1) / np.sqrt(10), rel=1e-5)
    rows = {line.split(" | ")[0]: line for line in curves._table("gender", points)}
    assert "+0.2500 ± 0.0000" in rows["| peterrec"]
    assert rows["| full"] == f"| full | {mean:.4f} ± {half:.4f} |"


def test_the_last_override_of_a_key_counts() -> None:
    cells = import_module("cells")
    assert cells.last_of_each(("a.b=1", "c=2", "a.b=3=4")) == ("a.b=3=4", "c=2")


def test_every_arm_of_the_conure_tables_trains_a_task_as_long_and_from_the_run_it_says() -> None:
    conure = import_module("results_conure")
    options = Namespace(runs=Path("runs"), dataset="ml-100k", pretrain=[], size="d = 64")
    for arm in ("conure", "sinmoall"):
        cells = conure.chain(arm, 1, options)
        assert len(cells) == 1 + len(conure.TASKS)
        for before, cell in pairwise(cells):
            assert cell.command[cell.command.index("--from") + 1] == str(before.path)
    base = conure.base(1, options)
    assert typed(base.command)["dataset"]["name"] == "ml-100k"
    kept = typed(conure.chain("conure", 1, options)[3].command)
    assert kept["method"]["_target_"].endswith("Conure")
    for arm in conure.SINGLE:
        alone = typed(conure._single(base, arm, conure.TASKS[2], 1, options).command)
        assert alone["trainer"]["epochs"] == 2 * kept["trainer"]["epochs"]  # before pruning, and again after it
        assert alone["task"] == kept["task"]
        assert alone["protocol"] == kept["protocol"]
    joint, liked = typed(conure._joint(base, 1, options).command), typed(conure.chain("conure", 1, options)[1].command)
    assert joint["task"]["parts"]["liked"]["recent"] == liked["task"]["recent"]


def test_a_conure_table_tells_of_a_chain_that_forgets_both_what_was_learned_and_what_is_left() -> None:
    conure = import_module("results_conure")
    scores = dict.fromkeys((conure.FIRST, *conure.TASKS), 0.5)
    shared = {"seconds": 60.0, "bytes": 2e6, "updates": 1500, "backbones": 1}
    results = [
        {"arm": "conure", "seed": seed, "scores": scores, "learned": scores, "exact": True, **shared} for seed in (0, 1)
    ]
    results.append({"arm": "sinmoall", "seed": 0, "scores": scores, "learned": scores, "exact": False, **shared})
    lines = conure.write_table(results)
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| Conure",
        "| full, task after task (SinMoAll), when learned",
        "| full, task after task (SinMoAll), at the end",
    ]
    assert lines[2].endswith("0.500 ± 0.000 | 1 | 2.0 | 1,500 | 1.0 |")


def test_arms_of_the_objectives_differ_by_the_loss_and_its_tables_alone(options: Namespace) -> None:
    objectives = import_module("results_objectives")
    for data in objectives.DATA:
        exact = typed(objectives.cell("exact", data, 1, options).command)
        assert (exact["objective"]["loss"], exact["seed"]) == ("full", 1)
        for arm in objectives.ARMS:
            config = typed(objectives.cell(arm, data, 1, options).command)
            for key in ("dataset", "model", "protocol", "seed"):
                assert config[key] == exact[key], (arm, key)
            assert config["trainer"] | {"tables": None} == exact["trainer"] | {"tables": None}, arm


def test_the_rate_of_row_wise_tables_is_chosen_by_validation_and_the_table_holds_paired_differences(
    options: Namespace,
) -> None:
    objectives = import_module("results_objectives")
    for score, trial in zip((0.1, 0.3, 0.2), objectives.trials("ml-1m", options), strict=True):
        finished(trial, metrics={"ndcg@10": score})
    assert "trainer.table_lr=0.05" in objectives.settled(objectives.RATED, "ml-1m", 2, options).command
    cells = {arm: [objectives.cell(arm, "ml-1m", seed, options) for seed in (0, 1)] for arm in ("exact", "bpr")}
    for arm, scores in {"exact": (0.2, 0.4), "bpr": (0.1, 0.3)}.items():
        for score, cell in zip(scores, cells[arm], strict=True):
            finished(cell, training_seconds=90.0, best_epoch=6)
            (cell.path / "metrics.json").write_text(json.dumps({"metrics": {"ndcg@10": score}}))
    rows = objectives.table(cells)[2:]
    assert rows[0] == "| exact | 0.3000 ± 0.1414 |  | 1.5 | 6, 6 |"
    assert rows[1] == "| bpr | 0.2000 ± 0.1414 | -0.1000 ± 0.0000 | 1.5 | 6, 6 |"


def finished_bases(clue: Any, options: Namespace) -> None:
    """Leave what two trials of each pre-training leave, the second of which a probe reads more from."""
    for name in clue.PRETRAININGS:
        for loss, cell in zip((3.0, 2.0), clue.trials(name, options), strict=True):
            finished(cell)
            probes = [{"label": label, "metrics": {"log_loss": loss}} for label in clue.LABELS]
            cell.path.with_name(f"{cell.path.name}.probe.json").write_text(json.dumps({"probes": probes}))


def test_pretrainings_are_chosen_by_their_probes_and_tuned_alike(options: Namespace) -> None:
    clue = import_module("results_clue")
    finished_bases(clue, options)
    for name in clue.PRETRAININGS:
        tried = clue.trials(name, options)
        assert clue.chosen(name, options) == tried[1]
        configs = [typed(cell.command) for cell in tried]
        assert all(config["protocol"] == configs[0]["protocol"] for config in configs)
        assert configs[0]["protocol"]["pretrain_users"] == "all"
        assert [build(config["objective"]) for config in configs]
        assert typed(clue.food_base(name, options).command)["trainer"]["lr"] == configs[1]["trainer"]["lr"]
    assert typed(clue.trials("joint", options)[1].command)["objective"]["weights"]["clue"] == 1.0
    tuned = {arm: typed(clue.profile(arm, "age", 0.4, 3, options).command) for arm in clue._arms()}
    shared = [config["trainer"] | {"epochs": 0} for config in tuned.values()]
    assert all(trainer == shared[0] for trainer in shared)
    assert tuned["scratch"]["trainer"]["epochs"] == clue.LONGER * tuned["clue"]["trainer"]["epochs"]
    assert {config["protocol"]["fold"] for config in tuned.values()} == {3}
    assert str(clue.chosen("cloze", options).path) in clue.profile("cloze", "age", 1.0, 0, options).command


def test_ablations_and_views_differ_from_clue_by_one_thing(options: Namespace) -> None:
    clue = import_module("results_clue")
    whole = typed(clue.ablation("clue", options).command)
    for name, own in clue.ABLATIONS.items():
        config = typed(clue.ablation(name, options).command)
        differing = {key for key, value in config["objective"].items() if value != whole["objective"][key]}
        assert differing == {text.split("=")[0].split(".")[1] for text in own}
        assert config["trainer"] == whole["trainer"]
    usual = typed(clue.view("dropout-0.3", options).command)
    for name, own in clue.VIEWS.items():
        config = typed(clue.view(name, options).command)
        assert (config["model"] == usual["model"]) == ("model" not in str(own))
        assert (config["objective"] == usual["objective"]) == ("objective" not in str(own))


def test_every_arm_of_the_cold_table_starts_from_kitchen_alone(options: Namespace) -> None:
    clue = import_module("results_clue")
    finished_bases(clue, options)
    for arm in (*clue.FOOD_PRETRAININGS, "scratch"):
        config = typed(clue.cold_cell(arm, 0.05, 2, options).command)
        assert (config["task"]["label_fraction"], config["protocol"]["fold"]) == (0.05, 2)
    for name in clue.FOOD_PRETRAININGS:
        assert typed(clue.food_base(name, options).command)["protocol"]["pretrain_users"] == "source_only"

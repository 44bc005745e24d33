"""Where polars, Hydra and more are not installed: a prepared folder and a config are enough, to the last bit."""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bare_machine import run
from documents import TOP, Document, smoke

from userrep import console
from userrep.cli import main
from userrep.evaluation.per_user import read_per_user
from userrep.files import read_json, read_yaml, sha256_of, write_yaml

SMALL = ("dataset=synthetic", "model.width=16", "model.dilations=[1,2]", "trainer.batch_size=32", "trainer.epochs=1")
AGE = ("--method", "peterrec", "task=age", "trainer.batch_size=32", "trainer.epochs=1")
NEXT = ("--method", "full", "task=next_item", "trainer.epochs=1")
TIMES = ("seconds", "sequences_per_second")

pytestmark = pytest.mark.timeout(400)  # on a busy machine; some 25 s of one core


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, prepared_data_dir: Path) -> Path:
    """A folder with two runs below `here/` made the usual way, and the configs for them as `--dry-run` prints them."""
    folder = tmp_path_factory.mktemp("machines")
    data = ("--data-dir", str(prepared_data_dir))

    def told(*words: str) -> None:
        with pytest.raises(SystemExit) as ended:
            main([*words, *data])
        console.use_json(False)
        assert not ended.value.code, words

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, words in (("base", ("pretrain", *SMALL)), ("age", ("transfer", "--from", "base.yaml", *AGE)),
                            ("next", ("transfer", "--from", "base.yaml", *NEXT)),
                            ("pruned", ("prune", "base.yaml", "--keep", "0.5", "trainer.epochs=1"))):  # fmt: skip
            printed = folder / f"{name}.yaml"
            with printed.open("w") as file, patch.context() as inner:
                inner.setattr("sys.stdout", file)
                told(*words, "--dry-run")
        told("pretrain", *SMALL, "--run", "here/base")
        told("transfer", *AGE, "--from", "here/base", "--run", "here/age")
        told("evaluate", "here/base", "here/age")
    return folder


@pytest.fixture(scope="module")
def there(here: Path, prepared_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the other machine made the same runs, below `there/`, of the copied folder and the files alone."""
    folder = tmp_path_factory.mktemp("bare")
    shutil.copytree(prepared_data_dir / "prepared", folder / "data" / "prepared")
    for table in (folder / "data").rglob("*.parquet"):
        table.write_bytes(bytes(table.stat().st_size))  # nothing that trains reads one
    for config in here.glob("*.yaml"):
        shutil.copy(config, folder)
    commands = [
        ["pretrain", "--config", "base.yaml", "--run", "there/base"],
        ["transfer", "--config", "age.yaml", "--from", "there/base", "--run", "there/age"],
        ["evaluate", "there/base", "there/age"],
        ["transfer", "--config", "next.yaml", "--from", "there/base", "--run", "there/next"],
        ["prune", "there/base", "--config", "pruned.yaml", "--run", "there/pruned"],
        ["evaluate", "there/age", "--split", "valid", "--export", "out"],
        ["compare", "there/base", "there/base"],
        ["show", "there/age"],
        ["runs", "there"],
        ["pretrain", "--config", "base.yaml", "--run", "there/base"],
        ["pretrain", "--resume", "--run", "there/base"],
    ]
    again = range(len(commands) - 2, len(commands))
    for number, (code, out, err) in enumerate(run(commands, folder)):
        assert code == 0, (commands[number], err)
        assert "Traceback" not in err
        assert ("already finished" in out) == (number in again), commands[number]
    return folder


@pytest.mark.parametrize("name", ["base", "age"])
def test_a_run_made_there_is_that_run_to_the_last_bit(here: Path, there: Path, name: str) -> None:
    one, other = here / "here" / name, there / "there" / name
    for record in ("config_hash", "protocol_hash", "data", "splits", "task", "choices", "metrics", "weights"):
        assert read_json(one / "run.json")[record] == read_json(other / "run.json")[record], record
    weights = read_json(one / "run.json")["weights"]["file"]
    assert sha256_of(one / weights) == sha256_of(other / weights)
    assert sha256_of(one / "last.safetensors") == sha256_of(other / "last.safetensors")
    logs = [[json.loads(line) for line in (place / "log.jsonl").read_text().splitlines()] for place in (one, other)]
    assert [drop_times(line) for line in logs[0]] == [drop_times(line) for line in logs[1]]
    assert read_json(one / "metrics.json") == read_json(other / "metrics.json")
    results = read_per_user([one / "per_user.parquet", other / "per_user.parquet"])
    assert (other / "per_user.npz").is_file()
    assert results[0].users.tolist() == results[1].users.tolist()
    for column, values in results[0].table().items():
        np.testing.assert_array_equal(values, results[1].table()[column])


def drop_times(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in TIMES}


def test_a_run_says_that_its_config_was_a_file(there: Path) -> None:
    origins = read_yaml(there / "there" / "age" / "config.yaml")["origins"]
    assert origins["trainer/transfer"] == origins["task/age"] == origins["seed"] == "--config age.yaml"
    assert origins["model/nextitnet"] == origins["dataset/synthetic"] == "base"
    assert sorted(path.name for path in (there / "out").iterdir()) == ["metrics-valid.json", "per_user-valid.npz"]


def test_what_was_made_there_is_read_here(there: Path, userrep: Any, prepared_data_dir: Path) -> None:
    shutil.copytree(there / "there", "there")
    assert userrep("show", "there/age").code == 0
    for words in (("compare", "there/base", "there/base"), ("evaluate", "there/age", "--fresh")):
        assert userrep(*words, "--data-dir", str(prepared_data_dir)).code == 0
    assert sorted(path.name for path in Path("there/age").glob("per_user*")) == [
        "per_user-valid.npz",
        "per_user.parquet",
    ]


def test_what_needs_a_package_names_it_and_its_remedy(there: Path) -> None:
    hydra, polars, scipy = "pip install hydra-core", "pip install polars", "pip install scipy"
    asked = {
        ("preprocess",): polars, ("download", "ml-100k"): hydra, ("pretrain",): hydra,
        ("pretrain", "trainer.epochs=1"): hydra, ("transfer", "--method", "head", "--from", "there/base"): hydra,
        ("prune", "there/base"): hydra, ("baseline", "majority"): scipy, ("probe", "there/base"): scipy,
        ("transfer", "--config", "age.yaml", "--from", "there/base", "--controls", "full"): hydra,
        ("recommend", "there/base", "--users", "x.csv"): polars, ("embed", "there/base", "--out", "x.parquet"): polars,
        ("pretrain", "--config", "base.yaml", "--data-dir", "nowhere"): "polars and hydra-core",
    }  # fmt: skip
    for words, (code, out, err) in zip(asked, run(list(asked), there), strict=True):
        assert code in (2, 3), words
        assert out == "", words
        cause, remedy = err.splitlines()
        assert cause.startswith("error: "), words
        assert asked[words] in remedy, (words, remedy)


def test_the_commands_of_the_page_lead_from_raw_data_there_to_results(
    userrep: Any, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (block for block in Document(TOP / "docs" / "elsewhere.md").blocks if block.language == "text")
    for line in first.text.splitlines():
        _, *words = shlex.split(line)
        file = words.pop() if ">" in words else None
        told = userrep(*smoke([word for word in words if word != ">"]))
        assert told.code == 0, told.err
        if file:
            Path(file).write_text(told.out, encoding="utf-8")
    commands = [shlex.split(line)[1:] for line in second.text.splitlines()]
    assert [told[0] for told in run(commands, workplace)] == [0] * len(commands)
    assert sorted(path.name for path in Path("runs").iterdir()) == ["age", "base", "base-1"]


@pytest.fixture
def ask(here: Path, userrep: Any, prepared_data_dir: Path) -> Callable[..., Any]:
    """Run a command beside copies of the configs and of the runs made the usual way."""
    shutil.copytree(here, ".", dirs_exist_ok=True)
    return lambda *words: userrep(*words, "--data-dir", str(prepared_data_dir), "--json")


@pytest.mark.parametrize(("name", "words"), [("age", AGE), ("next", NEXT)])
def test_what_is_composed_from_the_base_s_config_is_what_the_base_itself_gives(
    ask: Callable[..., Any], name: str, words: tuple[str, ...]
) -> None:
    composed = ask("transfer", "--from", "here/base", *words, "--dry-run").answer["config"]
    assert read_yaml(f"{name}.yaml") == composed


def test_the_config_of_any_kind_of_run_stands_for_that_run(ask: Callable[..., Any]) -> None:
    for name in ("pruned", "age"):
        config = ask("transfer", "--from", f"{name}.yaml", *AGE, "--dry-run").answer["config"]
        assert config == read_yaml("age.yaml")
    assert ask("prune", "age.yaml", "--dry-run").error["message"] == "run age.yaml is a transfer run"
    Path("number.yaml").write_text("5")
    assert ask("transfer", "--from", "number.yaml", *AGE, "--dry-run").error["message"] == "number.yaml is no config"


def test_the_seed_may_stand_beside_a_config(ask: Callable[..., Any]) -> None:
    for words in (("--seed", "7"), ("seed=7",)):
        config = ask("pretrain", "--config", "base.yaml", *words, "--dry-run").answer["config"]
        assert config["seed"] == 7
        assert config["origins"]["seed"] == "override"
        assert config == read_yaml("base.yaml") | {"seed": 7, "origins": config["origins"]}


def test_how_a_run_is_trained_may_stand_beside_a_config(ask: Callable[..., Any]) -> None:
    words = ("trainer.checkpoint_seconds=7", "trainer.devices=1")
    config = ask("pretrain", "--config", "base.yaml", *words, "--dry-run").answer["config"]
    assert (config["trainer"]["checkpoint_seconds"], config["trainer"]["devices"]) == (7, 1)
    assert config["origins"]["trainer.devices"] == config["origins"]["trainer.checkpoint_seconds"] == "override"
    told = ask("pretrain", "--config", "base.yaml", "trainer.checkpoint_seconds=7", "--run", "here/base")
    assert told.code == 0
    assert "already finished" in told.err  # it is the same run


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (
            ("pretrain", "--config", "base.yaml", "trainer.checkpoint_seconds=soon"),
            "trainer.checkpoint_seconds is 'soon'",
        ),
        (("pretrain", "--config", "base.yaml", "trainer.checkpoint_seconds={"), "cannot read the override"),
        (("pretrain", "--config", "base.yaml", "trainer.epochs=3"), "trainer.epochs=3 is given too"),
        (("pretrain", "--config", "base.yaml", "--model", "sasrec"), "model=sasrec is given too"),
        (("pretrain", "--config", "base.yaml", "--config-dir", "."), "--config-dir . is given too"),
        (("pretrain", "--config", "base.yaml", "seed=x"), "seed is 'x'"),
        (("prune", "here/base", "--config", "pruned.yaml", "--keep", "0.2"), "method.keep=0.2 is given too"),
        (("transfer", "--config", "age.yaml", "--from", "here/base", "tasks=[age,gender]"), "is given too"),
        (("pretrain", "--config", "age.yaml"), "age.yaml is no config of pretrain: it has no objective"),
        (("transfer", "--config", "base.yaml", "--from", "here/base"), "it has no method"),
        (("transfer", "--config", "age.yaml", "--from", "base.yaml"), "base.yaml is a file, not a run"),
        (("transfer", "--config", "age.yaml", "--from", "nowhere"), "nowhere does not exist"),
        (("prune", "nowhere", "--config", "pruned.yaml"), "nowhere does not exist"),
    ],
)
def test_what_does_not_go_with_a_config_is_refused(ask: Callable[..., Any], words: tuple[str, ...], cause: str) -> None:
    told = ask(*words)
    assert told.code == 2
    assert cause in told.error["message"]
    assert told.error["hint"]


@pytest.mark.parametrize("content", ["", "[1, 2]", "text", "seed: 0", "a: [", "a: !!python/name:os.system"])
def test_what_is_no_config_is_refused(ask: Callable[..., Any], content: str) -> None:
    Path("mine.yaml").write_text(content)
    told = ask("pretrain", "--config", "mine.yaml")
    assert told.code in (2, 3)
    assert "mine.yaml" in told.error["message"]
    assert told.error["hint"]
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("where", "value", "cause"),
    [
        (("trainer", "epoch"), 3, "trainer.epoch is no key"),
        (("trainer", "epochs"), "many", "trainer.epochs"),
        (("model", "_target_"), "torch.os.system", "torch.os.system"),
        (("model",), None, "model names no class"),
        (("extra",), {}, "unknown key 'extra'"),
        (("seed",), -1, "seed is -1"),
        (("dataset", "name"), "../../mine", "not all names"),
        (("choices", "model"), "../../mine", "not all names"),
        (("choices",), ["nextitnet"], "not all names"),
    ],
)
def test_a_config_is_checked_to_the_last_key(
    ask: Callable[..., Any], where: tuple[str, ...], value: Any, cause: str
) -> None:
    config = read_yaml("base.yaml")
    node = config if len(where) == 1 else config[where[0]]
    node[where[-1]] = value
    write_yaml("mine.yaml", config)
    told = ask("pretrain", "--config", "mine.yaml")
    assert told.code == 2
    assert cause in told.error["message"]


@pytest.mark.parametrize(("group", "key"), [("model", "width"), ("dataset", "n_users")])
def test_a_config_for_another_base_is_refused(ask: Callable[..., Any], group: str, key: str) -> None:
    config = read_yaml("age.yaml")
    config[group][key] = 32
    write_yaml("mine.yaml", config)
    told = ask("transfer", "--config", "mine.yaml", "--from", "here/base", "--run", "x")
    assert told.code == 2
    assert f"another {group} than base here/base" in told.error["message"]
    assert not Path("x").exists()


def test_texts_that_describe_the_data_set_may_differ_from_the_base_s(ask: Callable[..., Any]) -> None:
    config = read_yaml("age.yaml")
    config["dataset"]["title"] = "Another title"
    write_yaml("mine.yaml", config)
    told = ask("transfer", "--config", "mine.yaml", "--from", "here/base", "--run", "here/age")
    assert told.code == 0
    assert "already finished" in told.err

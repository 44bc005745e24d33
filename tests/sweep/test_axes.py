"""Axes: which lists of a command are axes, and what their product is."""

from itertools import product
from pathlib import Path

import pytest

from userrep.errors import ConfigError
from userrep.sweep.axes import trials
from userrep.sweep.words import Override, mentions, named_run, parts


def test_a_sweep_is_the_product_of_its_lists_and_the_last_changes_fastest() -> None:
    methods, tasks, seeds = ("peterrec", "lora", "full"), ("gender", "age"), ("0", "1", "2")
    words = ("transfer", "--method", ",".join(methods), f"task={','.join(tasks)}", "--seed", ",".join(seeds))
    expected = [
        ("transfer", "--method", method, f"task={task}", "--seed", seed)
        for method, task, seed in product(methods, tasks, seeds)
    ]
    found = trials((*words, "--from", "runs/base"))
    assert [trial.words for trial in found] == [(*command, "--from", "runs/base") for command in expected]
    assert found[0].name == "peterrec-gender-s0"
    assert found[-1].values == {"method": "full", "task": "age", "seed": "2"}
    assert len({trial.key for trial in found}) == len({trial.folder for trial in found}) == 18


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("tasks=[a,b]", ["tasks=[a,b]"]),
        ("model.dilations=[1,2]", ["model.dilations=[1,2]"]),
        ("model.dilations=[1,2],[1,4]", ["model.dilations=[1,2]", "model.dilations=[1,4]"]),
        ("task.names={a:1,b:2}", ["task.names={a:1,b:2}"]),
        ("dataset.name='a,b'", ["dataset.name='a,b'"]),
        ("trainer.lr=1e-3,0.01", ["trainer.lr=0.001", "trainer.lr=0.01"]),
        ("seed=range(0,3)", ["seed=0", "seed=1", "seed=2"]),
        ("method.table_rank=choice(0,8)", ["method.table_rank=0", "method.table_rank=8"]),
        ("task.metric=null,auc", ["task.metric=null", "task.metric=auc"]),
        ("+trainer.clip=1,2", ["+trainer.clip=1", "+trainer.clip=2"]),
        ("~task", ["~task"]),
        ("--from=runs/a,b", ["--from=runs/a,b"]),
        ("--controls=scratch,head", ["--controls=scratch,head"]),
        ("runs/lr=0.1,2", ["runs/lr=0.1,2"]),
    ],
)
def test_brackets_quotes_and_other_flags_keep_commas_together(word: str, expected: list[str]) -> None:
    assert [trial.words[1] for trial in trials(("transfer", word))] == expected


@pytest.mark.parametrize("words", [("--seed", "4,5"), ("--seed=4,5",), ("seed=4,5",)])
def test_a_flag_and_the_override_that_it_is_short_for_are_one_axis(words: tuple[str, ...]) -> None:
    found = trials(("pretrain", *words))
    assert [trial.name for trial in found] == ["s4", "s5"]
    assert found[0].words == ("pretrain", *(word.replace("4,5", "4") for word in words))


def test_names_behind_a_verb_are_an_axis_and_paths_are_none() -> None:
    found = trials(("baseline", "majority,svd_lr", "task=age,gender"))
    assert [trial.words[1:] for trial in found] == [
        (name, task) for name in ("majority", "svd_lr") for task in ("task=age", "task=gender")
    ]
    assert found[0].name == "majority-age"
    assert len(trials(("evaluate", "runs/a,runs/b"))) == len(trials(("transfer", "--from", "a,b"))) == 1


def test_a_value_that_is_listed_twice_is_one_trial() -> None:
    assert len(trials(("pretrain", "seed=0,0,1"))) == 2


def test_a_list_that_cannot_be_counted_out_is_refused() -> None:
    for word in ("trainer.lr=interval(0,1)", "method=glob(*)"):
        with pytest.raises(ConfigError, match="cannot be counted out"):
            trials(("transfer", word))


def test_the_folder_of_a_trial_hangs_on_its_command_alone() -> None:
    alone = trials(("transfer", "--method", "lora", "task=age", "--seed", "1"))[0]
    among = trials(("transfer", "--method", "peterrec,lora", "task=age", "--seed", "0,1"))[-1]
    assert alone.words == among.words
    assert alone.name != among.name
    assert alone.folder == among.folder
    assert alone.folder.startswith("transfer-lora-age-s1-")
    again = trials(("transfer", "--method", "lora", "task=age", "--seed", "1", "--fresh"))[0]
    assert again.key == alone.key


def test_a_command_names_the_runs_it_reads_but_not_the_one_it_makes() -> None:
    words = ("transfer", "--from=runs/base/", "--run", "runs/x")
    assert named_run(words) == Path("runs/x")
    assert mentions(words, Path("runs/base"))
    assert not mentions(words, Path("runs/x"))
    assert not mentions(words, Path("runs"))


def test_parts_tell_flags_that_are_short_for_an_override_from_other_words() -> None:
    found = parts(("transfer", "--method", "lora", "--from", "x", "--task=age", "trainer.lr=1", "--seed"))
    assert [part if isinstance(part, str) else part.text for part in found] == [
        "transfer", "method=lora", "--from", "x", "task=age", "trainer.lr=1", "--seed",
    ]  # fmt: skip
    assert [part.words("z") for part in found if isinstance(part, Override)] == [
        ("--method", "z"), ("--task=z",), ("trainer.lr=z",),
    ]  # fmt: skip

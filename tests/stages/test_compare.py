"""`userrep compare`: arms from runs, folds pooled, users paired, protocols not mixed."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from userrep.cli import main
from userrep.evaluation.per_user import read_per_user
from userrep.files import write_json
from userrep.run import Run, open_run
from userrep.stages.arms import Arm, group, labels
from userrep.stages.latex import escape
from userrep.stages.markdown import escape as plain


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def small(userrep: Any, prepared_data_dir: Path) -> Any:
    """Run a verb on the prepared data set."""
    return lambda *words: userrep(*words, "--data-dir", str(prepared_data_dir), "--json")


@pytest.fixture
def make(small: Any) -> Any:
    """Make a baseline run of a fold and a seed, and return its folder."""

    def made(name: str, fold: int = 0, seed: int = 0, *more: str) -> str:
        words = ("dataset=synthetic", "task=age", f"protocol.fold={fold}", f"seed={seed}", *more)
        told = small("baseline", name, *words)
        assert told.code == 0, told.err
        return str(told.answer["run"])

    return made


ONE = ("baseline.strengths=[1.0]", "baseline.weights=[binary]")


def test_folds_and_seeds_of_one_config_make_one_arm_with_every_user_once(make: Any, small: Any) -> None:
    bags = [make("bag_lr", fold, seed, *ONE) for fold in (0, 1) for seed in (0, 1)]
    shares = [make("majority", fold) for fold in (0, 1)]
    told = small("compare", *bags, *shares, "--reference", shares[1])
    assert told.code == 0, told.err
    answer = told.answer
    assert [(arm["arm"], len(arm["runs"])) for arm in answer["arms"]] == [
        ("baseline bag_lr", 4),
        ("baseline majority", 2),
    ]
    assert (answer["reference"], answer["users"], answer["seeds"]) == ("baseline majority", 120, 2)
    bag, reference = (arm["metrics"]["log_loss"] for arm in answer["arms"])
    results = read_per_user([Path(run) / "per_user.parquet" for run in bags])
    assert bag["value"] == pytest.approx(np.mean([result.metrics()["log_loss"] for result in results]), abs=1e-3)
    assert bag["difference"] == pytest.approx(bag["value"] - reference["value"])
    assert bag["interval"][0] < bag["value"] < bag["interval"][1] < reference["value"]
    low, high = bag["difference_interval"]
    assert low < bag["difference"] < high < 0
    assert bag["p_holm"] < 0.05
    assert "difference" not in reference
    accuracy = answer["arms"][0]["metrics"]["accuracy"]
    assert accuracy["verdict"] == "non-inferior"
    assert accuracy["detectable"] > 0
    assert accuracy["effect"] > 1
    assert accuracy["significant"] == (accuracy["p_holm"] < 0.05)
    assert answer["margins"] == {"accuracy": 0.01}
    assert "smallest detectable difference" in told.err


def test_a_margin_that_was_asked_for_judges_every_metric_compared(make: Any, small: Any) -> None:
    runs = [make("majority"), make("bag_lr", 0, 0, *ONE)]
    told = small("compare", *runs, "--metric", "log_loss", "--margin", "0.5")
    assert told.answer["margins"] == {"log_loss": 0.5}
    assert told.answer["arms"][1]["metrics"]["log_loss"]["verdict"] == "non-inferior"
    assert "verdict" not in told.answer["arms"][0]["metrics"]["log_loss"]
    wrong = small("compare", *runs, "--margin", "-1")
    assert (wrong.code, "--margin" in wrong.error["message"]) == (2, True)


def test_validation_results_can_be_compared_without_a_reading_of_test(make: Any, small: Any) -> None:
    runs = [make("majority"), make("bag_lr", 0, 0, *ONE)]
    readings = [(Path(run) / "readings.jsonl").read_text() for run in runs]
    answer = small("compare", *runs, "--split", "valid").answer
    tested = small("compare", *runs).answer
    assert (answer["split"], tested["split"]) == ("valid", "test")
    assert answer["users"] < tested["users"]
    assert [(Path(run) / "readings.jsonl").read_text() for run in runs] == readings
    (Path(runs[0]) / "per_user-valid.parquet").unlink()
    told = small("compare", *runs, "--split", "valid")
    assert told.error["hint"] == f"userrep evaluate {runs[0]} --split valid"


def test_only_what_is_significant_is_bold_in_a_terminal_of_80_columns(
    make: Any, small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [make("majority"), make("bag_lr", 0, 0, *ONE), make("bag_lr", 0, 0, "baseline.strengths=[0.001]", ONE[1])]
    contrasts = [arm["metrics"]["accuracy"] for arm in small("compare", *runs).answer["arms"][1:]]
    assert {contrast["significant"] for contrast in contrasts} == {True, False}
    shown = {}
    for width in (80, 120):
        stream = Terminal()
        monkeypatch.setattr("sys.stdout", stream)
        monkeypatch.setenv("COLUMNS", str(width))
        with pytest.raises(SystemExit):
            main(["compare", *runs, "--metric", "accuracy"])
        shown[width] = stream.getvalue()
        bold = re.findall(r"\x1b\[1m([^\x1b]*)\x1b", shown[width])
        assert [text.strip() for text in bold] == [f"{c['difference']:+.4f}" for c in contrasts if c["significant"]]
        plain = re.sub(r"\x1b\[[0-9;]*m", "", shown[width])
        assert max(len(line.rstrip()) for line in plain.splitlines() if "smallest" not in line) <= width
    assert "effect" in shown[120]
    assert "effect" not in shown[80]


def test_the_table_for_latex_is_whole_escaped_and_bold_where_it_is_significant(make: Any, small: Any) -> None:
    runs = [make("majority"), make("bag_lr", 0, 0, *ONE)]
    answer = small("compare", *runs, "--metric", "log_loss", "--latex", "table.tex").answer
    text = Path("table.tex").read_text()
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert rule in text
    assert r"bag\_lr" in text
    assert r"\emph{log\_loss}" in text
    difference = answer["arms"][1]["metrics"]["log_loss"]["difference"]
    assert rf"\textbf{{\boldmath${difference:+.4f}$}}" in text
    widths = {line.count("&") for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line}
    assert len(widths) == 1
    assert escape("50% of_a {b} #1 & $2 ~ ^ \\") == (
        r"50\% of\_a \{b\} \#1 \& \$2 \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )


def test_the_table_in_markdown_has_a_cell_for_every_head_and_is_bold_where_it_is_significant(
    make: Any, small: Any
) -> None:
    runs = [make("majority"), make("bag_lr", 0, 0, *ONE)]
    answer = small("compare", *runs, "--metric", "log_loss", "--metric", "accuracy", "--markdown", "table.md").answer
    *tables, below = Path("table.md").read_text().strip().split("\n\n")
    assert [table.splitlines()[0].split(" | ")[1] for table in tables] == ["log_loss", "accuracy"]
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1
        assert len(table.splitlines()) == 2 + len(runs)
    found = answer["arms"][1]["metrics"]["log_loss"]
    assert f"| **{found['difference']:+.4f}** |" in tables[0]
    assert f"| {found['value']:.4f} |" in tables[0]
    assert f"Smallest detectable difference (80 % power): log_loss {found['detectable']:.4f}" in below
    assert plain("50% of_a |b| *c* _d_ <e> [f]\\") == r"50% of_a \|b\| \*c\* \_d\_ \<e\> \[f\]\\"


def test_several_tasks_make_one_table_in_every_form(make: Any, small: Any) -> None:
    runs = [make("majority"), make("bag_lr", 0, 0, *ONE)]
    words = ("dataset=synthetic", "task=gender", "--run", "runs/gender")
    assert small("baseline", "majority", *words).code == 0
    told = small("compare", *runs, "runs/gender", "--markdown", "table.md", "--latex", "table.tex")
    assert list(told.answer["tasks"]) == ["age", "gender"]
    head, _, first, second, _, below = Path("table.md").read_text().splitlines()
    assert head == "| arm | age: accuracy | gender: accuracy |"
    values = [arm["metrics"]["accuracy"]["value"] for arm in told.answer["tasks"]["age"]["arms"]]
    assert first.split(" | ")[1].startswith(f"{values[0]:.4f} [")
    assert second.split(" | ")[1].startswith(f"**{values[1]:.4f}** + [")
    assert second.endswith("|  |")
    assert "age: 60 users" in below
    text = Path("table.tex").read_text()
    assert rf"\textbf{{{values[1]:.4f}}}$^{{+}}$" in text
    assert "age: 60 users" in text


def test_latex_on_stdout_stands_there_alone(make: Any, userrep: Any, small: Any) -> None:
    runs = [make("majority"), make("bag_lr", 0, 0, *ONE)]
    told = userrep("compare", *runs, "--latex", "-")
    assert told.out.startswith("% \\usepackage{booktabs}\n\\begin{table}")
    assert told.out.endswith("\\end{table}\n")
    assert "smallest detectable difference" in told.err
    assert small("compare", *runs, "--latex", "-").code == 2


def test_arms_are_called_by_what_differs_in_a_table() -> None:
    def arm(name: str, apart: tuple[str, ...] = (), **chosen: str) -> Arm:
        made = Run(Path(name), {"verb": "transfer"})
        made.__dict__["config"] = {"choices": chosen}
        return Arm({}, name, apart, [made])

    full, head = arm("a", method="full", model="nextitnet"), arm("b", method="head", model="nextitnet")
    assert labels([full, head, arm("c", baseline="majority")]) == {"a": "full", "b": "head", "c": "majority"}
    assert labels([full, arm("d", method="full", model="sasrec")]) == {"a": "full nextitnet", "d": "full sasrec"}
    apart = arm("e", ("trainer.lr=0.1", "model.dilations=[1, 4.5]"), method="full", model="nextitnet")
    assert labels([full, apart])["e"] == "full lr=0.1 dilations=[1, 4.5]"
    assert labels([full, arm("f", method="full", model="nextitnet")]) == {"a": "a", "f": "f"}


def test_arms_are_compared_on_the_users_they_share(make: Any, small: Any) -> None:
    told = small("compare", make("majority", 0), make("majority", 1), make("bag_lr", 1, 0, *ONE))
    assert told.answer["users"] == 60
    assert told.answer["users_left_out"] == 60
    assert "left out" in told.err
    apart = small("compare", make("majority", 0), make("bag_lr", 1, 0, *ONE))
    assert apart.code == 3
    assert "no test user" in apart.error["message"]


def test_runs_of_seeds_that_not_all_arms_have_are_told_and_in_no_number(make: Any, small: Any) -> None:
    three, two = ([make("bag_lr", 0, seed, strength, ONE[1]) for seed in range(count)]
                  for strength, count in ((ONE[0], 3), ("baseline.strengths=[0.3]", 2)))  # fmt: skip
    told = small("compare", *three, *two)
    assert told.code == 0, told.err
    assert (told.answer["seeds"], told.answer["seeds_left_out"]) == (2, ["2"])
    assert [len(arm["runs"]) for arm in told.answer["arms"]] == [2, 2]
    assert three[2] not in told.answer["arms"][0]["runs"]
    assert "runs of seed 2 are left out" in told.err
    alike = small("compare", *three, make("majority"))
    assert (alike.answer["seeds"], alike.answer["seeds_left_out"]) == (3, [])


def test_folds_that_differ_in_a_setting_are_told_why_they_are_not_pooled(make: Any, small: Any) -> None:
    runs = [make("bag_lr", fold, 0, f"baseline.strengths=[{strength}]", ONE[1]) for fold, strength in enumerate((1, 2))]
    told = small("compare", *runs)
    assert (told.code, told.error["message"]) == (3, "these runs share no test user")
    assert (
        told.error["hint"] == "folds of one arm are alike in all but seed and fold: these differ in baseline.strengths"
    )
    told = small("compare", make("majority"), make("bag_lr", 1, 0, *ONE))
    assert told.error["hint"] == "compare runs of the same folds and the same task"


def test_arms_of_one_name_show_what_differs(make: Any) -> None:
    weak = ("baseline.strengths=[0.3]", "baseline.weights=[binary]")
    arms = group([open_run(make("bag_lr", 0, 0, *extra)) for extra in (ONE, weak)])
    assert [arm.name for arm in arms] == [
        "baseline bag_lr baseline.strengths=[1.0]",
        "baseline bag_lr baseline.strengths=[0.3]",
    ]


def test_unlike_protocols_are_refused_unless_forced(make: Any, small: Any) -> None:
    runs = [make("majority"), make("majority", 0, 0, "protocol.users=paper")]
    told = small("compare", *runs)
    assert told.code == 2
    assert "unlike protocols" in told.error["message"]
    assert "users is folds" in told.error["message"]
    assert "and paper" in told.error["message"]
    assert "--force" in told.error["hint"]
    longer = small("compare", runs[0], make("majority", 0, 0, "protocol.history=50", "protocol.readout=last"))
    assert re.search(r"history is 200 \(.*\) and 50 \(.*\); readout is mean \(.*\) and last", longer.error["message"])
    assert "data" not in longer.error["message"]
    assert "alike in history, readout," in longer.error["hint"]
    forced = small("compare", *runs, "--force")
    assert forced.answer["protocol_hash"] is None
    assert "unlike protocols" in forced.err


def test_a_run_named_twice_counts_once_and_two_runs_of_the_same_users_are_refused(
    make: Any, small: Any, workplace: Path
) -> None:
    run = make("majority")
    assert len(small("compare", run, f"./{run}").answer["arms"][0]["runs"]) == 1
    copy = small("baseline", "majority", "dataset=synthetic", "task=age", "--run", "runs/copy").answer["run"]
    told = small("compare", run, copy)
    assert told.code == 2
    assert "same users" in told.error["message"]


def test_an_unfinished_run_is_told_to_go_on_before_protocols_are_looked_at(make: Any, small: Any) -> None:
    run = make("majority")
    write_json(Path(run) / "run.json", {"verb": "pretrain", "config_hash": "0", "status": "running"})
    told = small("compare", make("bag_lr", 0, 0, *ONE), run)
    assert (told.code, told.error["message"]) == (2, f"{run} is not finished")


def test_a_reference_of_another_task_alone_is_told(make: Any, small: Any) -> None:
    ranker = small("baseline", "popularity", "dataset=synthetic", "task=next_item", "--run", "runs/pop").answer["run"]
    told = small("compare", make("majority"), make("bag_lr", 0, 0, *ONE), "--reference", ranker)
    assert told.code == 0, told.err
    assert "runs/pop has no namesake among the runs of age: they are held against baseline majority" in told.err


def test_runs_that_were_not_evaluated_or_lack_a_metric_are_refused(make: Any, small: Any) -> None:
    run = make("majority")
    unknown = small("compare", run, "--metric", "accurcy")
    assert unknown.code == 2
    assert "accuracy" in unknown.error["hint"]
    (Path(run) / "per_user.parquet").write_bytes(b"PAR1 no more")
    damaged = small("compare", run)
    assert damaged.code == 3
    assert "per_user.parquet" in damaged.error["message"]
    (Path(run) / "per_user.parquet").unlink()
    told = small("compare", run)
    assert told.code == 2
    assert told.error["hint"] == f"userrep evaluate {run}"

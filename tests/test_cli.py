"""The command line: one JSON object, one line of cause, one of remedy, the right exit code."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import Told

import userrep as package
from userrep import console
from userrep.cli import app
from userrep.command import conduct
from userrep.errors import DataError, DivergedError, Interrupted, VerificationError
from userrep.looking import looking

HERE = {"PYTHONPATH": str(Path(package.__file__).parent.parent)}  # this checkout, wherever the command runs
VERBS = (
    "download", "preprocess", "pretrain", "transfer", "prune", "evaluate", "baseline", "compare", "import", "methods",
    "plan", "runs", "show", "recommend", "verify", "chain", "embed", "probe", "map", "routes", "sweep",
)  # fmt: skip


def shell(*words: str, cwd: Path, **environment: str) -> Told:
    done = subprocess.run(
        [sys.executable, "-m", "userrep", *words],
        cwd=cwd, env=os.environ | HERE | environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return Told(done.returncode, done.stdout, done.stderr)


def test_every_verb_is_there_and_helps(userrep: Any) -> None:
    shown = userrep("--help").out
    for verb in VERBS:
        assert verb in shown
        assert "--json" in userrep(verb, "--help").out


def test_bare_userrep_shows_the_help_and_the_version_is_known(userrep: Any) -> None:
    assert "Usage: userrep" in userrep().out
    assert userrep("--version").out.startswith("userrep 0.")


def seconds_of(*words: str, **environment: str) -> float:
    """Processor time of a Python command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], env=os.environ | HERE | environment, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@pytest.mark.parametrize("words", [("--help",), ("pretrain", "--help"), ()])
def test_help_and_completion_answer_in_three_tenths_of_a_second(words: tuple[str, ...]) -> None:
    """Or, where the machine is crowded, in little more than its libraries take to load: once in ten tries."""
    completing = {"_USERREP_COMPLETE": "complete_bash", "COMP_WORDS": "userrep pretrain model =", "COMP_CWORD": "3"}

    def quick() -> bool:
        bare = seconds_of("-c", "import typer, pydantic")
        return seconds_of("-m", "userrep", *words, **({} if words else completing)) < max(0.3, 2.5 * bare)

    assert any(quick() for _ in range(10))


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, userrep.cli; print(sorted({'torch', 'polars', 'hydra', 'numpy', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_usage_error_is_two_lines_and_exit_2(userrep: Any) -> None:
    told = userrep("pretrain", "--jsn")
    assert told.code == 2
    assert told.out == ""
    cause, remedy = told.err.splitlines()
    assert "No such option: --jsn" in cause
    assert "userrep pretrain --help" in remedy


@pytest.mark.parametrize(
    "words",
    [
        ("pretrain", "--jsn"),
        ("pretrain", "--seed", "x"),
        ("pretrain", "--seed", "-1"),
        ("pretrain", "--device", "tpu"),
        ("pretrain", "--resume", "--fresh"),
        ("pretrain", "seed=1", "--seed", "2"),
        ("evaluate",),
        ("evaluate", "x", "--split", "train"),
        ("import", "x"),
        ("pretrian",),
        ("transfer", "--from", "nowhere"),
        ("transfer",),
        ("prune", "nowhere"),
        ("evaluate", "nowhere"),
    ],
)
def test_every_usage_error_is_a_json_object_too(userrep: Any, words: tuple[str, ...]) -> None:
    told = userrep(*words, "--json")
    assert told.code == 2
    assert told.error["kind"] == "usage"
    assert told.error["message"]
    assert told.error["hint"]
    assert "Traceback" not in told.err


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("pretrain", "modle=nextitnet"), "unknown key 'modle'", "did you mean 'model'?"),
        (("pretrain", "--model", "nextitnte"), "unknown model", "did you mean 'nextitnet'?"),
        (("pretrain", "++typo=1"), "unknown key 'typo'", "choose from"),
        (("pretrain", "model._target_=torch.os.system"), "torch.os.system", "component"),
        (("pretrain", "seed=1,2"), "asks for several runs", "once for each"),
        (("pretrain", "--config-dir", "nowhere"), "is no folder", "conf/"),
        (("download", "ml-100"), "unknown dataset", "did you mean 'ml-100k'?"),
    ],
)
def test_a_config_error_names_the_remedy(userrep: Any, words: tuple[str, ...], message: str, hint: str) -> None:
    told = userrep(*words, "--json")
    assert told.code == 2
    assert told.error["kind"] == "config"
    assert message in told.error["message"]
    assert hint in told.error["hint"]


def test_missing_data_is_exit_3_with_the_commands_to_type(userrep: Any, workplace: Path) -> None:
    told = userrep("pretrain", "dataset=ml-100k", "--json")
    assert told.code == 3
    assert told.error["kind"] == "data"
    assert "userrep preprocess" in told.error["hint"]
    assert os.listdir(workplace) == []


def test_a_dry_run_shows_the_config_and_touches_nothing(userrep: Any, workplace: Path) -> None:
    told = userrep("pretrain", "--dataset", "synthetic", "trainer.epochs=3", "--seed", "7", "--dry-run")
    assert told.code == 0
    assert "epochs: 3" in told.out
    assert "seed: 7" in told.out
    assert "runs/pretrain/synthetic-nextitnet-s7-" in told.out
    assert os.listdir(workplace) == []


def test_a_dry_run_in_json_holds_the_config(userrep: Any, workplace: Path) -> None:
    answer = userrep("pretrain", "dataset=synthetic", "--dry-run", "--json").answer
    assert (answer["verb"], answer["dry_run"]) == ("pretrain", True)
    assert answer["config"]["dataset"]["name"] == "synthetic"
    assert answer["seconds"] > 0
    assert os.listdir(workplace) == []


@pytest.mark.parametrize("words", [("preprocess",), ("download", "ml-100k"), ("baseline", "majority", "task=gender")])
def test_a_dry_run_of_other_verbs_touches_nothing_either(
    userrep: Any, prepared_data_dir: Path, workplace: Path, words: tuple[str, ...]
) -> None:
    chosen = () if words[0] == "download" else ("dataset=synthetic",)
    before = sorted(prepared_data_dir.rglob("*"))
    told = userrep(*words, *chosen, "--dry-run", "--json", "--data-dir", str(prepared_data_dir))
    assert told.answer["dry_run"] is True
    assert os.listdir(workplace) == []
    assert sorted(prepared_data_dir.rglob("*")) == before


def test_preprocess_in_json_is_one_object_and_doing_it_twice_is_fine(userrep: Any) -> None:
    first = userrep("preprocess", "dataset=synthetic", "--json")
    again = userrep("preprocess", "--dataset", "synthetic", "--json")
    assert (first.code, again.code) == (0, 0)
    assert {"verb", "run", "seconds"} <= set(first.answer)
    assert first.answer["hash"] == again.answer["hash"]
    assert "already prepared" in again.err


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (DataError("a", "b"), 3, "data"),
        (DivergedError("a", "b"), 4, "diverged"),
        (VerificationError("a", "b"), 5, "verification"),
        (Interrupted(signal.SIGTERM), 143, "interrupted"),
        (Interrupted(), 130, "interrupted"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(28, "No space left on device", "x"), 3, "data"),
        (MemoryError(), 2, "usage"),
        (ZeroDivisionError("a\nb"), 1, "internal"),
    ],
)
def test_what_goes_wrong_has_its_exit_code_and_no_traceback(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, kind: str
) -> None:
    def fail() -> None:
        raise error

    assert conduct(fail, json=True) == code
    console.use_json(False)
    shown = capsys.readouterr()
    told = json.loads(shown.out)["error"]
    assert told["kind"] == kind
    assert told["hint"]
    assert len(shown.err.splitlines()) == 2
    assert "Traceback" not in shown.err


def test_a_traceback_is_shown_on_request(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERREP_DEBUG", "1")
    assert conduct(lambda: 1 // 0, json=False) == 1
    assert "Traceback" in capsys.readouterr().err


def test_sigterm_outside_of_training_unwinds_and_is_exit_143(capsys: pytest.CaptureFixture[str]) -> None:
    unwound = []

    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            unwound.append(True)

    assert conduct(work, json=False) == 143
    assert unwound
    assert "interrupted by SIGTERM" in capsys.readouterr().err


def test_a_reader_that_goes_away_ends_nothing_and_prints_nothing(workplace: Path) -> None:
    command = f"{sys.executable} -m userrep preprocess dataset=synthetic | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=workplace, env=os.environ | HERE, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "0\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "position", "expected"),
    [
        ("userrep pretrain mod", 2, "model="),
        ("userrep pretrain model =", 3, "nextitnet"),
        ("userrep pretrain seed = 3 model = next", 7, "nextitnet"),
        ("userrep pretrain --model next", 3, "nextitnet"),
        ("userrep download ml-1", 2, "ml-100k"),
        ("userrep pre", 1, "pretrain"),
    ],
)
def test_bash_completes_groups_and_choices(workplace: Path, words: str, position: int, expected: str) -> None:
    told = shell(cwd=workplace, _USERREP_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(position))
    assert expected in told.out.splitlines()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_zsh_and_fish_get_whole_words(workplace: Path) -> None:
    told = shell(
        cwd=workplace, _USERREP_COMPLETE="complete_fish", _TYPER_COMPLETE_FISH_ACTION="get-args",
        _TYPER_COMPLETE_ARGS="userrep pretrain model=next",
    )  # fmt: skip
    assert "model=nextitnet" in told.out.splitlines()


def test_no_verb_is_registered_twice() -> None:
    names = [command.name for part in (app, looking) for command in part.registered_commands]
    assert sorted(names) == sorted(set(VERBS))


def test_a_name_from_a_file_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b[31mred\x00\x9b"
    console.note(name)
    console.warn(name)
    console.table("names", ["name"], [[name]])
    console.show_error(DataError(name, name))
    shown = "".join(capsys.readouterr())
    assert shown.count("\ufffd[31mred\ufffd\ufffd") == 5
    assert not set("\x1b\x00\x9b") & set(shown)

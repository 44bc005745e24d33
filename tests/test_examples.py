"""The examples: every command that their loops type is one, and reads runs that an earlier one makes."""

import os
import re
from functools import partial
from pathlib import Path

import pytest
from documents import TOP, Block, commands

from userrep.cli import app
from userrep.stages.rehearsal import Answers, completed
from userrep.sweep.trial import Trial
from userrep.sweep.words import named_run
from userrep.verb import rehearse

SCRIPTS = sorted((TOP / "examples").glob("*.sh"))
READING = ("evaluate", "compare", "probe", "routes", "verify", "chain", "prune")


def typed(script: Path, folder: Path) -> list[list[str]]:
    """Return the commands of a script for one seed, or one fold, loops unrolled, without running one."""
    block = Block("bash", f"SEEDS=0; FOLDS=0\n{script.read_text(encoding='utf-8')}", 1)
    return [words for program, *words in commands(block, folder) if program == "userrep"]


def at_the_base(words: list[str]) -> tuple[str, ...]:
    """Return a command with every base called alike: what it is checked for is what it changes."""
    place = words.index("--from") + 1 if "--from" in words else len(words)
    return (*words[:place], *["BASE"][: len(words) - place], *words[place + 1 :])


def read_by(words: list[str]) -> list[str]:
    """Return the runs that a command names and does not make."""
    flagged = [words[place + 1] for place, word in enumerate(words[:-1]) if word in ("--from", "--reference")]
    own = [] if words[0] not in READING else [word for word in words[1:] if re.match(r"runs/", word)]
    made = named_run(words)
    return [name for name in (*flagged, *own) if name != str(made) and not set("*[?") & set(name)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_command_of_an_example_is_one(script: Path, workplace: Path) -> None:
    answers: Answers = {}
    for words in typed(script, workplace):
        there = words[0] in ("download", "preprocess", "pretrain")
        completed(Trial(at_the_base(words), script.name), partial(rehearse, app), there, answers)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_an_example_reads_only_what_it_has_made_and_makes_nothing_twice(script: Path, workplace: Path) -> None:
    made: list[str] = []
    for words in typed(script, workplace):
        for name in read_by(words):
            assert any(name == run or name.startswith(f"{run}{os.sep}") for run in made), f"{name} of {words}"
        if (run := named_run(words)) is not None:
            assert str(run) not in made, f"{run} is made twice"
            made.append(str(run))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_an_example_stops_at_the_first_failure_and_is_short(script: Path) -> None:
    lines = script.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert lines[1].startswith("# ")
    assert "set -euo pipefail" in lines
    assert len(lines) <= 40
    assert all(len(line) <= 130 for line in lines)
    assert os.access(script, os.X_OK) or script.name == "demo.sh"

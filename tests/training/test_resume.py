"""Commands killed in the middle, by a signal or inside a checkpoint write, and typed again.

`scripts/kill_and_resume.py` does the same fifty times; `test_fit.py` stops the loop at each of its steps.
"""

import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from scripts import kill_and_resume
from scripts.kill_and_resume import Trial, at_random, inside_a_write, outcome
from userrep.files import read_json, write_json
from userrep.training.checkpoint import restore_generators

SMALL = ("model.width=32", "model.dilations=[1,2]", "trainer.batch_size=32", "trainer.patience=0")
PRETRAIN = ("pretrain", "dataset=synthetic", *SMALL, "trainer.epochs=2")
CHILD = ("trainer.epochs=2", "trainer.batch_size=16", "trainer.checkpoint_seconds=0")

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def data(prepared_data_dir: Path) -> tuple[str, str]:
    return ("--data-dir", str(prepared_data_dir))


def undisturbed(userrep: Any, words: tuple[str, ...], folder: Path) -> kill_and_resume.Outcome:
    told = userrep(*words, "--run", str(folder))
    assert told.code == 0, told.err
    return outcome(folder)


def test_a_pretraining_killed_three_times_ends_bit_identical(
    userrep: Any, workplace: Path, data: tuple[str, str]
) -> None:
    words, rng = (*PRETRAIN, *data, "trainer.checkpoint_seconds=0"), random.Random(0)
    trial = Trial(words, workplace / "killed")
    assert trial.live(inside_a_write(rng, most=4), signal.SIGKILL)
    assert trial.live(at_random(rng, 0.1), signal.SIGTERM)
    assert trial.live(at_random(rng, 0.1), signal.SIGINT)
    assert trial.kills[0].inside
    assert (workplace / "killed" / "checkpoint.pt").exists()
    told = userrep(*words, "--run", "killed")
    assert told.code == 0, told.err
    assert outcome(workplace / "killed") == undisturbed(userrep, words, workplace / "alone")
    left = {file.name for file in (workplace / "killed").iterdir()}
    assert left == {"config.yaml", "run.json", "log.jsonl", "model.safetensors", "last.safetensors", ".lock"}


@pytest.mark.parametrize(
    "words",
    [("transfer", "--method", "peterrec", "task=gender", *CHILD), ("prune", "BASE", "--keep", "0.4", *CHILD)],
    ids=["transfer", "prune"],
)
def test_a_child_killed_in_training_ends_bit_identical(
    userrep: Any, workplace: Path, data: tuple[str, str], words: tuple[str, ...]
) -> None:
    assert userrep(*PRETRAIN, *data, "--run", "base").code == 0
    base = str(workplace / "base")
    given = tuple(base if word == "BASE" else word for word in words)
    given = (*given, *data) if words[0] == "prune" else (*given, "--from", base, *data)
    trial = Trial(given, workplace / "killed")
    assert trial.live(inside_a_write_after_a_line(), signal.SIGKILL)
    told = userrep(*given, "--run", "killed")
    assert told.code == 0, told.err
    assert outcome(workplace / "killed") == undisturbed(userrep, given, workplace / "alone")
    assert "checkpoint.pt" not in {file.name for file in (workplace / "killed").iterdir()}


def test_a_checkpoint_of_another_torch_goes_on_with_one_line_of_warning(
    userrep: Any, workplace: Path, data: tuple[str, str]
) -> None:
    words = (*PRETRAIN, *data, "trainer.checkpoint_seconds=0", "--run", "run")
    assert Trial(words[:-2], workplace / "run").live(inside_a_write_after_a_line(), signal.SIGKILL)
    path, record = Path("run/checkpoint.pt"), read_json("run/run.json")
    content, here = torch.load(path, weights_only=True), record["versions"]["torch"]
    assert content["torch"] == str(torch.__version__)  # which may also name what it was built for
    torch.save(content | {"torch": "2.0.0"}, path)
    write_json("run/run.json", record | {"versions": record["versions"] | {"torch": "2.0.0"}})
    told = userrep(*words)
    assert told.code == 0, told.err
    assert "going on: phase train" in told.out
    (line,) = [line for line in told.err.splitlines() if line.startswith("warning")]
    assert f"torch 2.0.0 and goes on with {here}" in line
    assert read_json("run/run.json")["torch"] == ["2.0.0", here]
    assert f"torch 2.0.0, then {here}" in userrep("show", "run").out


def test_generators_of_more_devices_than_there_are_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was begun on four devices goes on on two, and the other way round."""
    set_to: dict[int, int] = {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: set_to.update({device: state}))
    for here, kept in ((2, [5, 6, 7, 8]), (4, [5, 6])):
        set_to.clear()
        monkeypatch.setattr(torch.cuda, "device_count", lambda here=here: here)
        restore_generators({"rng": torch.get_rng_state(), "rng_cuda": kept})
        assert set_to == {0: 5, 1: 6}


def inside_a_write_after_a_line() -> kill_and_resume.Moment:
    """Return the moment inside a checkpoint write with a line in the log: of pruning, the second phase."""
    inside = inside_a_write(random.Random(0), most=1)

    def reached(folder: Path) -> bool:
        log = folder / "log.jsonl"
        return inside(folder) and log.exists() and log.stat().st_size > 0

    return reached


def test_a_damaged_checkpoint_is_told_plainly_and_fresh_starts_over(
    userrep: Any, workplace: Path, data: tuple[str, str]
) -> None:
    words = (*PRETRAIN, *data, "--run", "run", "--json")
    assert userrep(*words).code == 0
    record = workplace / "run" / "run.json"
    record.write_text(record.read_text().replace('"finished"', '"running"', 1))
    (workplace / "run" / "checkpoint.pt").write_bytes(b"PK\x03\x04 and then nothing")
    told = userrep(*words)
    assert told.code == 3
    assert "checkpoint.pt cannot be read" in told.error["message"]
    assert "--fresh" in told.error["hint"]
    assert len(told.error["message"]) < 300
    assert userrep(*words, "--fresh").code == 0


def unfinish(folder: Path) -> kill_and_resume.Outcome:
    """Make a finished run one that died before its first checkpoint; return what it had come to."""
    before = outcome(folder)
    record = folder / "run.json"
    record.write_text(record.read_text().replace('"finished"', '"running"', 1))
    for name in before:
        (folder / name).unlink()
    return before


def test_resume_needs_no_override_of_the_first_command(userrep: Any, workplace: Path, data: tuple[str, str]) -> None:
    base, child = ("--run", "base"), ("--from", "base", "task=age", "--run", "child")
    assert userrep(*PRETRAIN, *data, *base).code == 0
    assert userrep("transfer", "--method", "last", *CHILD, *child, *data).code == 0
    assert userrep("prune", "base", "--keep", "0.6", *CHILD, "--run", "sparse", *data).code == 0
    for verb, folder in ((("prune", "base"), "sparse"), (("transfer",), "child"), (("pretrain",), "base")):
        before = unfinish(workplace / folder)
        told = userrep(*verb, "--resume", "--run", folder, *data)
        assert told.code == 0, told.err
        assert outcome(workplace / folder) == before

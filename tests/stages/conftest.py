"""A chain of three tasks that one encoder has learned, made once for the tests that serve and verify it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SMALL = ("model.width=8", "model.dilations=[1]", "trainer.batch_size=64", "trainer.epochs=1")
SHORT = ("protocol.events=chain", "trainer.epochs=1")


@pytest.fixture(scope="session")
def succeed(prepared_data_dir: Path) -> Callable[..., None]:
    """Run a verb on the prepared data set, wherever we are, and expect it to succeed."""
    from userrep import console
    from userrep.cli import main

    def run(*words: str) -> None:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--data-dir", str(prepared_data_dir)])
        console.use_json(False)
        assert not ended.value.code, words

    return run


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory, succeed: Callable[..., None]) -> Path:
    """A folder with the runs `base`, `1` (next item), `2` (gender) and `3` (age) of Conure; for copying or reading."""
    folder = tmp_path_factory.mktemp("learned")
    succeed("pretrain", "dataset=synthetic", "protocol.events=chain", *SMALL, "--run", str(folder / "base"))
    succeed("prune", str(folder / "base"), "--method", "conure", "trainer.epochs=1", "--run", str(folder / "1"))
    for base, task in ((1, "gender"), (2, "age")):
        words = ("--from", str(folder / str(base)), f"task=chain_{task}", *SHORT)
        succeed("transfer", "--method", "conure", *words, "--run", str(folder / str(base + 1)))
    return folder


@pytest.fixture
def chain(learned: Path, workplace: Path) -> Path:
    """A copy of the chain to harm, as `runs` of the current folder."""
    return Path(shutil.copytree(learned, workplace / "runs"))


@pytest.fixture
def ask(userrep: Any, prepared_data_dir: Path) -> Any:
    """Run a verb on the prepared data set, and expect an exit code."""

    def run(*words: str, code: int = 0) -> Any:
        told = userrep(*words, "--data-dir", str(prepared_data_dir), "--json")
        assert told.code == code, told.err
        assert "Traceback" not in told.err
        return told.answer if code == 0 else told.error

    return run

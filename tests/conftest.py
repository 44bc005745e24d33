"""What all tests share: one thread a process, and a tiny prepared data set."""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(_name, "1")

from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from userrep import composition, config, groups

if TYPE_CHECKING:
    from userrep.sequences.store import Prepared

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def composed_once() -> Iterator[None]:
    """Let Hydra compose the same words once a process: composing was a third of what commands took in tests.

    With yaml files of a user beside those of conf/ it composes anew.
    """
    known: dict[tuple[str, ...], tuple[dict[str, Any], dict[str, str]]] = {}

    def compose_files(overrides: Iterable[str], config_dir: Path | None) -> tuple[dict[str, Any], dict[str, str]]:
        words = tuple(overrides)
        if config_dir is not None or groups.own_dir() is not None:
            return composition.compose_files(words, config_dir)
        if words not in known:
            known[words] = composition.compose_files(words, None)
        return deepcopy(known[words])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "compose_files", compose_files)
        yield


@pytest.fixture(scope="session")
def synthetic_node() -> dict[str, Any]:
    """The config node of the generated data set."""
    from userrep.config import compose

    return dict(compose("preprocess", ["dataset=synthetic"])["dataset"])


@pytest.fixture(scope="session")
def prepared_data_dir(tmp_path_factory: pytest.TempPathFactory, synthetic_node: dict[str, Any]) -> Path:
    """A data folder in which the generated data set is prepared; for reading only."""
    from userrep.build import build
    from userrep.sequences.prepare import prepare
    from userrep.sequences.store import prepared_path

    data_dir = tmp_path_factory.mktemp("data")
    raw_dir = data_dir / "raw" / "synthetic"
    prepare(build(synthetic_node), synthetic_node, raw_dir, prepared_path(data_dir, synthetic_node))
    return data_dir


@pytest.fixture(scope="session")
def prepared(prepared_data_dir: Path, synthetic_node: dict[str, Any]) -> "Prepared":
    """The generated data set, prepared; for reading only."""
    from userrep.sequences.store import open_prepared

    return open_prepared(prepared_data_dir, synthetic_node)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder: `data/` and `runs/` come to lie in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def userrep(capsys: pytest.CaptureFixture[str], workplace: Path) -> Any:
    """Run a command line in this process, in an empty folder."""

    from command_line import Told

    from userrep import console
    from userrep.cli import main

    def run(*words: str) -> Told:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(words)
        shown = capsys.readouterr()
        console.use_json(False)
        return Told(int(ended.value.code or 0), shown.out, shown.err)

    return run

"""Data that tests read where it is there and never copy: beside the project, or downloaded."""

import os
from pathlib import Path

import pytest

from userrep.datasets.raw import raw_path

SHARED = Path(__file__).parents[3] / "shared" / "data"


def shared(name: str) -> Path:
    """Return a folder of the data beside the project; skip the test where it is not there."""
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"there is no {name} in the folder shared/data beside the project")
    return folder


def real_raw(name: str) -> Path:
    """Find a downloaded data set, or skip."""
    default = Path(__file__).parents[2] / "data"
    folder = raw_path(Path(os.environ.get("USERREP_TEST_DATA", default)), name)
    if not (folder / "source.json").exists():
        pytest.skip(f"{folder} is not there: userrep download {name}, or set USERREP_TEST_DATA")
    return folder

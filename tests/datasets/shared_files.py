"""Data beside the project, that tests read where it is there and never copy."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[3] / "shared" / "data"


def shared(name: str) -> Path:
    """Return a folder of the data beside the project; skip the test where it is not there."""
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"there is no {name} in the folder shared/data beside the project")
    return folder

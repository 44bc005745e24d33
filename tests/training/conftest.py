"""What tests of training share: a data set so small that a whole run takes a tenth of a second."""

from typing import Any

import pytest

from userrep.build import build
from userrep.sequences.prepare import prepare
from userrep.sequences.store import Prepared


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory, synthetic_node: dict[str, Any]) -> Prepared:
    """Eighty synthetic users, prepared; for reading only."""
    node = synthetic_node | {"n_users": 80, "n_items": 40, "min_length": 5, "max_length": 16}
    folder = tmp_path_factory.mktemp("few")
    return prepare(build(node), node, folder / "raw", folder / "prepared")

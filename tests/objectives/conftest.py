"""Data that the tests of objectives share."""

import pytest

from userrep.datasets.synthetic import Synthetic
from userrep.sequences.prepare import prepare
from userrep.sequences.store import Prepared


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Prepare 120 synthetic users, with ties between the two domains."""
    folder = tmp_path_factory.mktemp("two")
    dataset = Synthetic(name="synthetic", labels=["gender"], n_users=120, min_length=3, target_items=24)
    return prepare(dataset, {"name": "synthetic"}, folder / "raw", folder / "prepared")

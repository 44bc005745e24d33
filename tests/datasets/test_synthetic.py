"""The generated data set: deterministic, and with the structure it says it has."""

from pathlib import Path

import numpy as np
import pytest

from userrep.datasets.synthetic import Synthetic
from userrep.errors import ConfigError
from userrep.sequences.prepare import prepare
from userrep.sequences.store import Prepared


def made(folder: Path, **options: object) -> Prepared:
    dataset = Synthetic(name="synthetic", labels=["gender", "age"], tasks=["gender"], **options)  # type: ignore[arg-type]
    return prepare(dataset, {"name": "synthetic"}, folder / "raw", folder / "prepared")


def test_the_seed_decides_everything(tmp_path: Path) -> None:
    hashes = [made(tmp_path / str(place), seed=seed).hash for place, seed in enumerate((0, 0, 1))]
    assert hashes[0] == hashes[1] != hashes[2]


def test_users_and_lengths_are_as_asked(tmp_path: Path) -> None:
    prepared = made(tmp_path, n_users=50, n_items=20, min_length=5, max_length=9, tied=0.0)
    lengths = np.diff(prepared.sequences().offsets)
    assert (prepared.num_users, lengths.min(), lengths.max()) == (50, 5, 9)
    assert len(prepared.sequences().item_ids) <= 20


def test_labels_may_be_missing(tmp_path: Path) -> None:
    labels = made(tmp_path, unlabelled=0.5).labels("gender")
    assert 0.3 < np.mean(labels < 0) < 0.7


def test_the_next_item_follows_from_the_last_one_and_the_gender(tmp_path: Path) -> None:
    prepared = made(tmp_path, n_users=400, order=0.9, tied=0.0)
    sequences, gender = prepared.sequences(), prepared.labels("gender")
    rows = np.repeat(np.arange(prepared.num_users), np.diff(sequences.offsets))
    within = rows[1:] == rows[:-1]
    before, after, side = sequences.items[:-1][within], sequences.items[1:][within], gender[rows[1:][within]]
    counts = np.zeros((2, sequences.vocab_size, sequences.vocab_size))
    np.add.at(counts, (side, before, after), 1)
    assert counts.max(axis=2).sum() / counts.sum() > 0.85
    assert counts.sum(axis=0).max(axis=1).sum() / counts.sum() < 0.7  # not without the gender


def test_age_shows_in_what_is_chosen(tmp_path: Path) -> None:
    prepared = made(tmp_path, order=0.0, taste=0.9)
    sequences, age = prepared.sequences(), prepared.labels("age")
    cluster = np.array([int(item[1:]) // 15 for item in sequences.item_ids])[np.asarray(sequences.items) - 2]
    rows = np.repeat(np.arange(prepared.num_users), np.diff(sequences.offsets))
    assert np.mean(cluster == age[rows]) > 0.85


def test_sizes_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigError, match="no data of 0 users"):
        Synthetic(name="synthetic", n_users=0)
    with pytest.raises(ConfigError, match="9 to 5 events"):
        Synthetic(name="synthetic", min_length=9, max_length=5)

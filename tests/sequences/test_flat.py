"""Users, labels and splits as flat arrays: they say what the tables say, and a folder without them is read too."""

import shutil
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from listed import prepared_from, user_of

from userrep import packages
from userrep.errors import DataError
from userrep.sequences import store
from userrep.sequences.audit import audit
from userrep.sequences.store import Prepared

USERS = ["0", "ünï/cödé", "two words", "a\nline", "人"]
PARTS = ("train_end", "valid_end", "user_role")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two domains, users of odd names, labels that are not all known, and two imported splits of odd names."""
    users = USERS
    events = [event for number, name in enumerate(users) for event in user_of(name, "abcdefghijkl"[: 4 + number])]
    domains = ["main" if number % 3 else "other" for number in range(len(events))]
    rows: list[tuple[object, ...]] = [("mine/../x", 0, "other", name, 0, "train") for name in users]
    tested_once = ("test", "test", "test", "valid", "train"), ("train", "valid", "train", "test", "test")
    for fold, roles in enumerate(tested_once):
        rows += [("odd % name", fold, None, name, 0, role) for name, role in zip(users, roles, strict=True)]
    schema = {"split": pl.String, "fold": pl.Int32, "domain": pl.String, "user": pl.String, "position": pl.Int64,
              "role": pl.String}  # fmt: skip
    file = tmp_path / "mine.parquet"
    pl.DataFrame(rows, schema, orient="row").write_parquet(file)
    known = {"user": users[:4], "age": ["10", "9", None, "9"], "town/2": ["é", None, "b", "é"]}
    options = {"domains": domains, "known": known, "labels": ["age", "town/2"]}
    return prepared_from(tmp_path, events, split_file=file, **options).path


def test_the_arrays_say_what_the_tables_say(folder: Path) -> None:
    arrays, tables = Prepared(folder), Prepared(folder, tables=True)
    assert arrays.user_ids == tables.user_ids == pl.read_parquet(folder / "users.parquet")["user"].to_list()
    for label in ("age", "town/2"):
        assert arrays.labels(label).dtype == np.int64
        assert arrays.labels(label).tolist() == tables.labels(label).tolist()
    told = dict(zip(arrays.user_ids, arrays.labels("age").tolist(), strict=True))
    assert told == {"0": 1, "ünï/cödé": 0, "two words": -1, "a\nline": 0, "人": -1}
    assert {"mine/../x", "odd % name", "folds", "paper", "leave_one_out"} <= {e["name"] for e in arrays.meta["splits"]}
    for entry in arrays.meta["splits"]:
        for fold, domain in product(range(entry["folds"]), arrays.domains):
            one, other = (data.split(entry["name"], fold, domain) for data in (arrays, tables))
            assert (one.hash, one.name, one.fold, one.domain) == (other.hash, other.name, other.fold, other.domain)
            for part in PARTS:
                mine, theirs = getattr(one, part), getattr(other, part)
                assert mine.dtype == theirs.dtype, (entry["name"], part)
                assert mine.tolist() == theirs.tolist(), (entry["name"], part)


def test_nothing_of_a_split_lies_outside_of_the_folder(folder: Path) -> None:
    found = {str(path.relative_to(folder)) for path in folder.rglob("*.npy") if "splits" in path.parts}
    assert "domains/other/splits/mine%2F..%2Fx-0.npy" in found
    assert "splits/odd%20%25%20name-1.npy" in found
    assert sorted(path.name for path in folder.parent.iterdir() if path.suffix == ".npy") == []


def test_a_split_of_one_domain_leaves_the_other_to_training(folder: Path) -> None:
    data = Prepared(folder)
    (other,) = set(data.domains) - {"other"}
    split, counts = data.split("mine/../x", 0, other), np.diff(data.sequences(other).offsets)
    assert split.train_end.tolist() == split.valid_end.tolist() == counts.tolist()


def test_a_folder_of_an_earlier_version_is_read_from_its_tables(folder: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(folder, tmp_path / "old"))
    before = Prepared(folder)
    for place in (old / "users", old / "splits", *(old / "domains").glob("*/splits")):
        shutil.rmtree(place)
    after = Prepared(old)
    assert (after.user_ids, after.hash) == (before.user_ids, before.hash)
    assert after.labels("age").tolist() == before.labels("age").tolist()
    assert after.split("folds", 3).user_role.tolist() == before.split("folds", 3).user_role.tolist()
    assert all(finding.ok for finding in audit(after))


def test_without_polars_such_a_folder_is_refused_with_both_remedies(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(folder / "users")
    monkeypatch.setattr(store, "installed", lambda *modules: "polars" not in modules)
    with pytest.raises(DataError, match="tables alone") as caught:
        Prepared(folder).split("folds")
    assert "pip install polars" in caught.value.hint
    assert "preprocess" in caught.value.hint


@pytest.mark.parametrize("missing", ["users/ids.npy", "users/labels.npy", "splits/folds-0.npy"])
def test_half_a_copy_is_no_store(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(DataError, match=missing) as caught:
        data = Prepared(folder)
        _ = data.user_ids, data.labels("age"), data.split("folds")
    assert "prepare it again" in caught.value.hint


@pytest.mark.parametrize(
    ("place", "number"), [("users/labels.npy", 0), ("splits/folds-2.npy", 1), ("domains/main/splits/chain-0.npy", 0)]
)
def test_the_audit_finds_arrays_that_differ_from_the_tables(folder: Path, place: str, number: int) -> None:
    values = np.load(folder / place)
    values.flat[number] = 1 if values.flat[number] == 0 else 0
    np.save(folder / place, values)
    failed = [finding for finding in audit(Prepared(folder)) if not finding.ok]
    assert [finding.check for finding in failed] == ["training reads what the tables hold"]
    assert failed[0].detail.startswith("1 of ")


def test_a_package_is_named_as_it_is_installed() -> None:
    assert packages.installed("json", "numpy")
    assert not packages.installed("json", "no_such_package_at_all")
    assert packages.installing("hydra.core.plugins") == "pip install hydra-core"
    assert packages.installing("polars") == "pip install polars"

"""Files appear whole or not at all, and hashes depend on content alone."""

import errno
import json
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from userrep.errors import DataError
from userrep.files import (
    digest,
    plain,
    read_json,
    read_yaml,
    replacing,
    replacing_parts,
    sha256_of,
    sweep,
    write_json,
    write_yaml,
)


def test_a_file_is_replaced_only_when_the_block_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"old": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_folders_are_made_and_the_suffix_is_kept_for_numpy(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "items.npy"
    with replacing(path) as temporary:
        np.save(temporary, np.arange(3))
    assert np.load(path).tolist() == [0, 1, 2]
    assert os.listdir(path.parent) == ["items.npy"]


def test_a_lone_part_takes_the_place_of_a_table_and_several_as_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "table"
    for count in (1, 1, 3, 2, 1, 2):
        with replacing_parts(path) as folder:
            for number in range(count):
                (folder / f"part-{number}").write_text(f"{number} of {count}")
        assert os.listdir(path.parent) == ["table"]
        written = sorted(path.iterdir()) if count > 1 else [path]
        assert [part.read_text() for part in written] == [f"{number} of {count}" for number in range(count)]


@pytest.mark.parametrize("count", [1, 2])
def test_what_was_there_stays_where_parts_cannot_be_written(tmp_path: Path, count: int) -> None:
    for parts, succeeds in ((count, True), (1, False), (2, False)):
        with suppress(RuntimeError), replacing_parts(tmp_path / "table") as folder:
            for number in range(parts):
                (folder / f"part-{number}").write_text("whole" if succeeds else "half")
            if not succeeds:
                raise RuntimeError
        assert os.listdir(tmp_path) == ["table"]
        kept = list((tmp_path / "table").iterdir()) if count > 1 else [tmp_path / "table"]
        assert [part.read_text() for part in kept] == ["whole"] * count


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No space left") as caught, replacing(tmp_path / "a"):
        Path("/dev/full").write_text("x" * 100_000)
    assert "free some space" in caught.value.hint
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "error",
    [RuntimeError("I/O error: disk trouble (os error 28)"), OSError("77193 requested and 12256 written")],
    ids=["safetensors and polars", "numpy"],
)
def test_a_full_disk_is_recognised_inside_the_errors_of_libraries(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(DataError, match="No space left"), replacing(tmp_path / "a"):
        raise error


def test_a_file_in_the_way_of_a_folder_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"), replacing(tmp_path / "file" / "a"):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_missing_permission_is_a_data_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="Permission denied"), replacing(tmp_path / "a") as temporary:
        temporary.write_text("")
    tmp_path.chmod(0o700)


def test_other_system_errors_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "a"):
        (tmp_path / "missing").read_text()
    assert caught.value.errno == errno.ENOENT


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    context = replacing(tmp_path / "a.npy")
    context.__enter__().write_text("half")
    (tmp_path / "kept").write_text("")
    sweep(tmp_path, ["b.npy", "a"])
    assert len(os.listdir(tmp_path)) == 2
    sweep(tmp_path, ["a.npy"])
    assert os.listdir(tmp_path) == ["kept"]


def test_damaged_files_are_data_errors(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content, read in (
        (b"{", read_json),
        (b"a: [", read_yaml),
        (b"\xff", read_json),
        (b"\xff", read_yaml),
        (b"[" * 200_000 + b"]" * 200_000, read_json),
        (b"[" * 200_000 + b"]" * 200_000, read_yaml),
        (b"- " * 200_000, read_yaml),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            read(path)
        assert "\n" not in caught.value.message
    for read in (read_json, read_yaml, sha256_of):
        with pytest.raises(DataError, match="cannot read"):
            read(tmp_path / "missing")


def test_yaml_that_names_python_objects_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(DataError, match="not valid YAML"):
        read_yaml(path)


def test_yaml_keeps_order_and_small_floats(tmp_path: Path) -> None:
    value = {"b": 1e-5, "a": [1, None, True, "1e-5"]}
    write_yaml(tmp_path / "a.yaml", value)
    again = read_yaml(tmp_path / "a.yaml")
    assert again == value
    assert list(again) == ["b", "a"]


def test_what_json_cannot_say_is_made_plain() -> None:
    value = {
        "path": Path("a"),
        "scalar": np.float32(0.5),
        "array": np.arange(2),
        3: (float("nan"), float("inf")),
    }
    assert plain(value) == {"path": "a", "scalar": 0.5, "array": [0, 1], "3": [None, None]}
    json.dumps(plain(value), allow_nan=False)


def test_a_digest_knows_values_but_not_key_order() -> None:
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": (2, 3), "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert digest([1, 2]) != digest([2, 1])


def test_an_empty_name_is_no_file() -> None:
    with pytest.raises(DataError, match="Is a directory"), replacing(""):
        pass

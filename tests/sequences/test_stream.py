"""Preparing by way of the disk: the same folder, byte for byte; killed, it goes on; a full disk leaves no half."""

import errno
import fcntl
import gzip
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from userrep.datasets import table as table_file
from userrep.datasets.rows import row_chunks
from userrep.datasets.table import Table
from userrep.errors import DataError
from userrep.sequences import scatter, share, stream
from userrep.sequences.prepare import is_current, prepare, prepare_streaming
from userrep.sequences.store import Prepared, open_prepared, prepared_path
from userrep.sequences.stream import Sizes

SMALL = Sizes(block=300, shares=5, events=40)  # so small that everything is divided
NODE = {"name": "mine"}


def table(folder: Path, **options: Any) -> Table:
    return Table(name="mine", path=str(folder / "events"), **options)


def both_ways(folder: Path, sizes: Sizes = SMALL, **options: Any) -> tuple[Path, Path]:
    """Prepare in memory and by way of the disk."""
    raw = folder / "raw"
    one = prepare(table(folder, **options), NODE, raw, folder / "whole").path
    other = prepare_streaming(table(folder, **options), NODE, raw, folder / "streamed", sizes=sizes).path
    return one, other


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_equal(one: Path, other: Path) -> None:
    expected, found = contents(one), contents(other)
    assert expected.keys() == found.keys()
    assert [name for name in expected if expected[name] != found[name]] == []
    assert not list(other.parent.glob(".*.work")), "what was in between is removed"


def write_events(folder: Path, rows: list[tuple[Any, ...]], files: int = 3, kind: str = "csv") -> None:
    """Write user, item, time, rating, shop into several files."""
    frame = pl.DataFrame(rows, ["user", "item", "time", "rating", "shop"], orient="row", infer_schema_length=None)
    (folder / "events").mkdir(parents=True, exist_ok=True)
    size = -(-len(rows) // files)
    for number in range(0, len(rows), size):
        part, path = frame.slice(number, size), folder / "events" / f"{number:06d}.{kind}"
        if kind == "parquet":
            part.write_parquet(path, row_group_size=50)
        else:
            text = part.write_csv().encode()
            path.write_bytes(gzip.compress(text) if kind.endswith("gz") else text)


def drawn(seed: int, text: bool, events: int = 400) -> list[tuple[Any, ...]]:
    """Draw events with ties, copies, repeats, missing ratings, times finer than a second and two domains."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(events):
        user, item = int(40 * rng.random() ** 1.7), int(25 * rng.random() ** 1.7)
        names = (f"U{user * 7919 % 101}é", f'B"{item},' if item % 9 == 0 else f"B{item}") if text else (user, item)
        rating = None if rng.random() < 0.3 else int(rng.integers(1, 6))
        rows.append((*names, int(rng.integers(0, 60)) / 2, rating, "toys, old" if rng.random() < 0.3 else "books"))
    return rows


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (False, {}),
        (True, {}),
        (False, {"ties": "random", "ties_seed": 3}),
        (True, {"repeats": "merge"}),
        (False, {"time": None}),
        (True, {"domain": "shop", "rating": "rating"}),
        (True, {"domain": "shop", "ties": "random", "main": "toys_old"}),
        (False, {"domain": "shop", "time": None, "ties": "random"}),
        (False, {"min_user_events": 7, "min_item_events": 9}),
        (True, {"min_user_events": 6, "min_item_events": 5, "domain": "shop", "ties": "random", "repeats": "merge"}),
        (False, {"domain": "shop", "min_item_events": 7, "rating": "rating"}),
    ],
    ids=str,
)
def test_the_folder_is_that_of_the_way_in_memory(tmp_path: Path, text: bool, options: dict[str, Any]) -> None:
    write_events(tmp_path, drawn(0, text))
    one, other = both_ways(tmp_path, **options)
    assert_equal(one, other)
    if "min_item_events" in options:
        assert Prepared(one).meta["dropped"]["events"] > 0, "the filters have something to do"


@pytest.mark.parametrize("odd", ["", "007", "-7"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_ids_read_as_numbers_and_as_texts_give_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, odd: str
) -> None:
    rows = drawn(2, text=False)
    if odd:  # most blocks are numbers alone, some are not, and users and items are in both
        rows = [(odd, *row[1:]) if place == 250 else (str(row[0]), *row[1:]) for place, row in enumerate(rows)]
    write_events(tmp_path, rows, kind=kind)
    one, other = both_ways(tmp_path)
    assert_equal(one, other)
    monkeypatch.setattr(table_file, "row_chunks", lambda *given, numbers, **how: row_chunks(*given, **how))
    assert contents(prepare(table(tmp_path), NODE, tmp_path / "raw", tmp_path / "texts").path) == contents(one)


@pytest.mark.parametrize("kind", ["csv.gz", "parquet"])
def test_packed_files_and_parquet_give_the_same_folder(tmp_path: Path, kind: str) -> None:
    write_events(tmp_path, [row for row in drawn(1, text=True) if "," not in row[1]], kind=kind)
    assert_equal(*both_ways(tmp_path, domain="shop", rating="rating"))


ids = st.sampled_from(["1", "2", "10", "01", "9", "u", "U", "ü", "user-with-a-long-name"])
rows = st.lists(
    st.tuples(ids, ids, st.integers(-3, 3), st.sampled_from([None, 1, 4]), st.sampled_from(["a", "b"])),
    min_size=1,
    max_size=60,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows,
    st.sampled_from(["file", "random"]),
    st.sampled_from(["keep", "merge"]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_any_events_give_the_same_folder_or_the_same_error(
    tmp_path_factory: pytest.TempPathFactory,
    found: list[tuple[Any, ...]],
    ties: Any,
    repeats: Any,
    timed: bool,
    divided: bool,
    users: int,
    items: int,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    write_events(folder, found, files=2)
    options = {"ties": ties, "repeats": repeats, "time": "time" if timed else None, "rating": "rating"}
    options |= {"domain": "shop" if divided else None, "min_user_events": users, "min_item_events": items}
    try:
        prepare(table(folder, **options), NODE, folder / "raw", folder / "whole")
    except DataError as error:
        with pytest.raises(DataError, match=f"^{re.escape(error.message)}$"):
            prepare_streaming(table(folder, **options), NODE, folder / "raw", folder / "streamed", sizes=SMALL)
        assert not (folder / "streamed").exists()
        return
    prepare_streaming(table(folder, **options), NODE, folder / "raw", folder / "streamed", sizes=SMALL)
    assert_equal(folder / "whole", folder / "streamed")


def test_labels_texts_and_a_split_of_your_own_are_the_same(tmp_path: Path) -> None:
    write_events(tmp_path, drawn(2, text=False))
    users, items, splits = tmp_path / "users.csv", tmp_path / "items.csv", tmp_path / "splits.csv"
    users.write_text("user,age\n" + "".join(f"{user},{20 + user % 3}\n" for user in range(0, 60, 2)))
    items.write_text("item,title\n" + "".join(f"{item},Item {item}\n" for item in range(0, 30, 2)))
    splits.write_text("split,fold,user,position,role\n" + "".join(f"mine,0,{user},0,train\n" for user in range(40)))
    options = {"users_path": str(users), "items_path": str(items), "labels": ["age"]}
    one = prepare(table(tmp_path, **options), NODE, tmp_path / "raw", tmp_path / "whole", splits)
    two = prepare_streaming(
        table(tmp_path, **options), NODE, tmp_path / "raw", tmp_path / "streamed", splits, sizes=SMALL
    )
    assert_equal(one.path, two.path)
    assert "mine" in [entry["name"] for entry in two.meta["splits"]]


def test_broken_rows_are_told_and_left_out_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_events(tmp_path, drawn(3, text=False), files=1)
    path = next((tmp_path / "events").iterdir())
    lines = path.read_text().splitlines()
    for number in range(3, 400, 11):
        lines[number] = "too,few" if number % 2 else lines[number].replace(".", "x.")
    path.write_text("\n".join(lines) + '\n1,"open\n')
    told = []
    for way in (prepare, lambda *args: prepare_streaming(*args, sizes=SMALL)):
        with pytest.raises(DataError) as caught:
            way(table(tmp_path), NODE, tmp_path / "raw", tmp_path / "refused")
        told.append((caught.value.message, caught.value.hint))
    assert told[0] == told[1]
    assert_equal(*both_ways(tmp_path, skip_bad=True))
    warnings = capsys.readouterr().err.splitlines()
    assert warnings.count(next(line for line in warnings if "left out" in line)) == 2


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("after", [0, 7, 35])
def test_a_killed_run_goes_on_from_what_is_finished(
    tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_events(tmp_path, drawn(4, text=True))
    one = prepare(table(tmp_path), NODE, tmp_path / "raw", tmp_path / "whole").path
    done = []

    def until_killed(original: Any) -> Any:
        def counting(*args: Any, **kwargs: Any) -> Any:
            if len(done) >= after:
                raise Killed
            done.append(args)
            return original(*args, **kwargs)

        return counting

    with monkeypatch.context() as patch:
        patch.setattr(scatter, "_write", until_killed(scatter._write))
        patch.setattr(share, "_write", until_killed(share._write))
        with pytest.raises(Killed):
            prepare_streaming(table(tmp_path), NODE, tmp_path / "raw", tmp_path / "streamed", sizes=SMALL)
    assert not (tmp_path / "streamed").exists()
    again = counted_writes(tmp_path / "streamed", tmp_path, monkeypatch)
    assert_equal(one, tmp_path / "streamed")
    alone = counted_writes(tmp_path / "third", tmp_path, monkeypatch)
    assert len(done) + again - alone in (0, 1), "at most the lines that were held when it was killed are a part more"


def counted_writes(target: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Prepare and count the pieces that were written."""
    count: list[int] = []
    with monkeypatch.context() as patch:
        for module in (scatter, share):
            original = module._write
            patch.setattr(module, "_write", lambda *args, original=original: (count.append(1), original(*args))[1])
        prepare_streaming(table(folder), NODE, folder / "raw", target, sizes=SMALL)
    return len(count)


def test_other_raw_files_or_sizes_start_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_events(tmp_path, drawn(5, text=False))
    monkeypatch.setattr(stream, "number_items", lambda shares: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare_streaming(table(tmp_path), NODE, tmp_path / "raw", tmp_path / "streamed", sizes=SMALL)
    monkeypatch.undo()
    assert (tmp_path / ".streamed.work").exists()
    write_events(tmp_path, drawn(6, text=False))
    assert_equal(*both_ways(tmp_path, replace(SMALL, shares=3)))


def test_what_is_finished_is_removed_before_another_process_is_let_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_events(tmp_path, drawn(5, text=False))
    remove, held = shutil.rmtree, []

    def watched(path: Path, **how: Any) -> None:
        if path.name.endswith(".work"):
            with (tmp_path / ".streamed.lock").open("w") as lock, pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held.append(path)
        remove(path, **how)

    monkeypatch.setattr("userrep.sequences.prepare.shutil.rmtree", watched)
    prepare_streaming(table(tmp_path), NODE, tmp_path / "raw", tmp_path / "streamed", sizes=SMALL)
    assert set(held) == {tmp_path / ".streamed.work"}
    assert not held[0].exists()


def test_a_full_disk_leaves_no_half_store_and_says_where_what_is_finished_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_events(tmp_path, drawn(7, text=False))

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stream, "write_domains", full)
    with pytest.raises(DataError, match="No space left on device") as caught:
        prepare_streaming(table(tmp_path), NODE, tmp_path / "raw", tmp_path / "streamed", sizes=SMALL)
    assert ".streamed.work" in caught.value.hint
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")) == [
        ".streamed.work",
        "events",
    ]
    monkeypatch.undo()
    assert_equal(*both_ways(tmp_path))


def test_a_store_copied_half_is_recognised_when_it_is_opened(tmp_path: Path) -> None:
    write_events(tmp_path, drawn(8, text=False))
    path = prepared_path(tmp_path, NODE)
    prepare(table(tmp_path), NODE, tmp_path / "raw", path)
    assert isinstance(open_prepared(tmp_path, NODE), Prepared)
    assert is_current(path, table(tmp_path), tmp_path / "raw")
    items = path / "domains" / "main" / "items.npy"
    items.write_bytes(items.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"not whole: domains/main/items.npy has [\d,]+ bytes, not") as caught:
        open_prepared(tmp_path, NODE)
    assert "copy the whole folder again" in caught.value.hint
    assert not is_current(path, table(tmp_path), tmp_path / "raw")
    (path / "meta.json").unlink()
    with pytest.raises(DataError, match="copied in part"):
        open_prepared(tmp_path, NODE)

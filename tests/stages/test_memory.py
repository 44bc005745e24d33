"""Which way preparing goes: by the size of the files and the budget, or as asked for, with the reason said."""

from pathlib import Path

import pytest

from userrep.errors import UsageError
from userrep.stages import preprocess
from userrep.stages.memory import choose_way, parse_size
from userrep.stages.request import Request


def request(folder: Path, **extra: object) -> Request:
    (folder / "events").mkdir(exist_ok=True)
    for number in range(2):
        rows = [f"{user},{item},{user + item}" for user in range(number, 30, 2) for item in range(5)]
        (folder / "events" / f"{number}.csv").write_text("\n".join(["user,item,time", *rows]))
    source = {"from_file": folder / "events", "name": "mine"}
    return Request(data_dir=folder / "data", fresh=True, extra={**source, **extra})


@pytest.mark.parametrize(
    ("text", "size"), [("4GiB", 4 << 30), ("512m", 512 << 20), ("1.5 GB", 3 << 29), ("805306368", 768 << 20)]
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(("text", "message"), [("much", "not a size"), ("-1G", "not a size"), ("10MiB", "too little")])
def test_what_is_no_size_or_too_little_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_size(text)


def test_both_ways_give_one_hash_and_say_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = preprocess.run(request(tmp_path))
    assert "preparing in memory: about" in capsys.readouterr().out
    forced = preprocess.run(request(tmp_path, stream=True))
    assert "preparing by way of the disk" in capsys.readouterr().out
    assert forced == small
    assert (forced["users"], forced["events"]) == (30, 150)


def test_files_that_are_larger_than_the_budget_go_by_way_of_the_disk(tmp_path: Path) -> None:
    from userrep.datasets.table import Table

    path = tmp_path / "events.csv"
    with open(path, "wb") as file:
        file.truncate(100 << 20)  # a hole: it takes no space
    table = Table(name="mine", path=str(path))
    assert choose_way(table, tmp_path, "512MiB", None).streamed is table
    assert choose_way(table, tmp_path, "4GiB", None).streamed is None
    assert choose_way(table, tmp_path, "512MiB", False).streamed is None


def test_a_reader_of_whole_files_cannot_be_forced(tmp_path: Path) -> None:
    asked = Request(("dataset=synthetic",), data_dir=tmp_path, extra={"stream": True})
    with pytest.raises(UsageError, match="read as a whole") as caught:
        preprocess.run(asked)
    assert "dataset=table" in caught.value.hint
    with pytest.raises(UsageError, match="--on works by way of the disk"):
        preprocess.run(request(tmp_path, stream=False, on="ray"))

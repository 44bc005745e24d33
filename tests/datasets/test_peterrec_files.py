"""The official comma and double-comma files: histories, targets, classes, and everything odd about them."""

import random
from pathlib import Path

import pytest
from shared_files import shared

from userrep.datasets.peterrec_files import PeterRecFiles
from userrep.errors import ConfigError, DataError
from userrep.sequences.prepare import prepare
from userrep.sequences.store import Prepared

Rows = list[tuple[str, str, str]]


def made(**changes: object) -> PeterRecFiles:
    known = {"pretrain": "pre.csv", "ranking": {"click": "click.csv"}}
    return PeterRecFiles(name="toy", **(known | changes))  # type: ignore[arg-type]


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for stem, text in files.items():
        (folder / f"{stem}.csv").write_bytes(text.encode())
    return folder


def rows(dataset: PeterRecFiles, raw: Path) -> Rows:
    """Read user, item and domain of all events in order of row."""
    frame = dataset.events(raw).frame.sort("row").collect()
    return frame.select("user", "item", "domain").rows()


def source(user: str, *items: str) -> Rows:
    return [(user, item, "source") for item in items]


def clicks(user: str, *items: str) -> Rows:
    return [(user, item, "click") for item in items]


def test_each_line_is_a_user_whose_targets_come_after_its_history(tmp_path: Path) -> None:
    raw = write(tmp_path, pre="1,2,3\n4,2,2", click="1,2,3,,7,8\n4,2,2,,7")
    assert rows(made(), raw) == [
        *source("pre-1", "1", "2", "3"), *source("pre-2", "4", "2", "2"),
        *source("click-1", "1", "2", "3"), *source("click-2", "4", "2", "2"),
        *clicks("click-1", "7", "8"), *clicks("click-2", "7"),
    ]  # fmt: skip


def test_targets_have_ids_of_their_own(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw", pre="1,2,3\n", click="1,2,,1,2,9\n")
    prepared = prepare(made(), {"name": "toy"}, raw, tmp_path / "out")
    assert prepared.domains == ["source", "click"]
    assert [prepared.sequences(domain).item_ids for domain in prepared.domains] == [["1", "2", "3"], ["1", "2", "9"]]


@pytest.mark.parametrize(
    "line",
    [
        "1,2,3,,7,8", "1,2,3,,7,8,", "1,2,3,,7,8\r", "0,0,1,2,3,,7,8", "0,1,2,3,,7,8", " 1, 2 ,3 ,, 7,8 ",
        "1,2,3, ,7,8",
    ],
    ids=["plain", "empty last field", "crlf", "left zeros", "one zero", "spaces", "space between"],
)  # fmt: skip
def test_the_same_line_written_otherwise_is_the_same(tmp_path: Path, line: str) -> None:
    raw = write(tmp_path, pre="1,2,3\n", click=f"{line}\n")
    assert rows(made(), raw)[3:] == source("click-1", "1", "2", "3") + clicks("click-1", "7", "8")


@pytest.mark.parametrize("line", ["1,2,,", "1,2,", "1,2"], ids=["double comma", "comma", "nothing"])
def test_a_line_without_targets_keeps_its_history(tmp_path: Path, line: str) -> None:
    raw = write(tmp_path, pre="1,2,3\n", click=f"{line}\n3,,7\n")
    assert rows(made(), raw)[3:] == source("click-1", "1", "2") + source("click-2", "3") + clicks("click-2", "7")


def test_lengths_may_differ_and_a_history_may_be_empty_or_all_padding(tmp_path: Path) -> None:
    raw = write(tmp_path, pre="1\n0,0\n10,2,3,100\n\n20\n", click="0,,7\n,,8\n1,,9\n")
    assert rows(made(), raw) == [
        *source("pre-1", "1"), *source("pre-3", "10", "2", "3", "100"), *source("pre-5", "20"), *source("click-3", "1"),
        *clicks("click-1", "7"), *clicks("click-2", "8"), *clicks("click-3", "9"),
    ]  # fmt: skip


@pytest.mark.parametrize(("zeros", "kept"), [("anywhere", ["1", "2"]), ("items", ["0", "1", "0", "2"])])
def test_zeros_elsewhere_are_what_the_config_says(tmp_path: Path, zeros: str, kept: list[str]) -> None:
    raw = write(tmp_path, pre="0,1,0,2\n")
    assert rows(made(ranking={}, zeros=zeros), raw) == source("pre-1", *kept)
    with pytest.raises(DataError, match="line 1: a 0 after an item") as caught:
        rows(made(ranking={}), raw)
    assert "dataset.zeros=anywhere" in caught.value.hint


def test_profiles_give_labels_and_zero_is_a_class(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw", pre="1,2\n", gender="1,2,,0\n2,,1\n1,,\n", age="1,2,,3\n")
    dataset = made(ranking={}, profiles={"gender": "gender.csv", "age": "age.csv"}, labels=["gender", "age"])
    prepared = prepare(dataset, {"name": "toy"}, raw, tmp_path / "out")
    found = {
        user: (int(prepared.labels("gender")[row]), int(prepared.labels("age")[row]))
        for row, user in enumerate(prepared.user_ids)
    }
    nothing = (-1, -1)
    assert found == {
        "pre-1": nothing, "gender-1": (0, -1), "gender-2": (1, -1), "gender-3": nothing, "age-1": (-1, 0),
    }  # fmt: skip
    assert prepared.classes("gender") == ["0", "1"]


def test_lines_of_one_history_can_be_one_user(tmp_path: Path) -> None:
    raw = write(tmp_path, pre="1,2\n0,3\n", click="3,,7\n2,1,,8\n0,0,1,2,,9\n", gender="1,2,,0\n3,,1\n3,,0\n")
    dataset = made(people="history", profiles={"gender": "gender.csv"}, labels=["gender"])
    assert rows(dataset, raw) == [
        *source("pre-1", "1", "2"), *source("pre-2", "3"), *source("click-2", "2", "1"),
        *clicks("pre-2", "7"), *clicks("click-2", "8"), *clicks("pre-1", "9"),
    ]  # fmt: skip
    labels = dict(dataset.events(raw).users.select("user", "gender").rows())
    assert labels == {"pre-1": "0", "pre-2": None}  # the lines of the second disagree


def test_lines_without_a_history_are_nobody_in_common_and_a_mark_of_order_is_no_item(tmp_path: Path) -> None:
    raw = write(tmp_path, pre="\ufeff1,2\n", click="0,0,,7\n0,,8\n", gender="0,,0\n0,,1\n1,2,,1\n")
    dataset = made(people="history", profiles={"gender": "gender.csv"}, labels=["gender"])
    assert rows(dataset, raw) == [*source("pre-1", "1", "2"), *clicks("click-1", "7"), *clicks("click-2", "8")]
    labels = dict(dataset.events(raw).users.select("user", "gender").rows())
    assert labels == {"gender-1": "0", "gender-2": "1", "pre-1": "1"}


@pytest.mark.parametrize(("unknown", "kept"), [("drop", ["1"]), ("keep", ["1", "77"])])
def test_an_item_that_the_pretrain_file_lacks_is_named_or_treated_as_asked(
    tmp_path: Path, unknown: str, kept: list[str]
) -> None:
    raw = write(tmp_path, pre="1,2\n", click="2,,5\n1,77,,5\n")
    with pytest.raises(DataError, match=r"click\.csv, line 2: item 77 is not in pre\.csv") as caught:
        rows(made(), raw)
    assert "dataset.unknown=drop" in caught.value.hint
    assert [row for row in rows(made(unknown=unknown), raw) if row[0] == "click-2"] == [
        *source("click-2", *kept), *clicks("click-2", "5"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"pre": "1,,2\n"}, r"pre\.csv, line 1: targets after ',,' in a file to pre-train from"),
        ({"click": "1,2\n1\n"}, r"click\.csv is no file of a task: no line has targets"),
        ({"click": "1,,5\n1,2,,6,,7\n"}, r"click\.csv, line 2: a field is empty"),
        ({"click": "1,,,5\n"}, r"click\.csv, line 1: a field is empty"),
        ({"click": "1,,5\n1 2,,5\n"}, r"click\.csv, line 2: 1 2 is no id"),
        ({"gender": "1,,0\n2,,0,1\n"}, r"gender\.csv, line 2: 2 classes where a profile has one"),
        ({"pre": ""}, r"pre\.csv is empty"),
    ],
)
def test_a_file_of_another_task_or_a_broken_line_is_named(tmp_path: Path, files: dict[str, str], message: str) -> None:
    good = {"pre": "1,2\n", "click": "1,,5\n", "gender": "1,,0\n"}
    raw = write(tmp_path, **(good | files))
    with pytest.raises(DataError, match=message) as caught:
        rows(made(profiles={"gender": "gender.csv"}, labels=["gender"]), raw)
    assert caught.value.hint


def test_classes_given_as_targets_are_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = write(tmp_path, pre="1,2\n", click="".join(f"1,2,,{line % 2}\n" for line in range(30)))
    rows(made(), raw)
    assert "is it a profile" in capsys.readouterr().err


def test_files_that_are_not_named_are_listed(tmp_path: Path) -> None:
    raw = write(tmp_path, something="1,2\n")
    with pytest.raises(DataError, match="does not say what its files are") as caught:
        PeterRecFiles(name="toy").events(raw)
    assert "something.csv" in caught.value.hint
    with pytest.raises(DataError, match=r"there is no file .*pre\.csv"):
        rows(made(), raw)
    with pytest.raises(DataError, match="is no name of a file"):
        rows(made(pretrain="../pre.csv"), raw)
    with pytest.raises(ConfigError, match="no file gives the label 'age'"):
        made(labels=["age"])
    with pytest.raises(ConfigError, match="two domains are called 'click'"):
        made(source="click")


def test_random_lines_are_read_as_a_plain_loop_reads_them(tmp_path: Path) -> None:
    rng = random.Random(0)
    lines = []
    for _ in range(200):
        history = ["0"] * rng.randrange(4) + [str(rng.randrange(1, 40)) for _ in range(rng.randrange(1, 9))]
        lines.append(",".join(history) + ",," + ",".join(str(rng.randrange(9)) for _ in range(rng.randrange(4))))
    raw = write(tmp_path, click="\n".join(lines))
    expected = []
    for number, line in enumerate(lines, 1):
        history, _, found = line.partition(",,")
        items = history.split(",")
        while items[0] == "0":
            items = items[1:]
        expected += source(f"click-{number}", *items)
        expected += clicks(f"click-{number}", *(target for target in found.split(",") if target))
    assert sorted(rows(made(pretrain=None), raw)) == sorted(expected)


def demo(tmp_path: Path, people: str) -> Prepared:
    stem = "history_sequences_20181014_fajie_transfer"
    dataset = PeterRecFiles(
        name="demo", pretrain=f"{stem}_pretrain_small.csv", ranking={"target": f"{stem}_finetune_small.csv"},
        people=people,  # type: ignore[arg-type]
    )  # fmt: skip
    return prepare(dataset, {"name": "demo"}, shared("peterrec-format"), tmp_path / people)


def test_the_official_demo_has_175_source_ids_31_targets_and_47_pairs(tmp_path: Path) -> None:
    apart, joined = demo(tmp_path, "line"), demo(tmp_path, "history")
    assert apart.sequences("source").vocab_size == 175  # 173 items, padding, mask; officially 173, padding, unknown
    assert len(apart.sequences("target").item_ids) == 31
    assert len(apart.sequences("target").items) == 47
    assert (apart.num_users, joined.num_users) == (60, 30)  # the two files list the same histories


def test_the_demo_of_teracon_is_padded_on_the_left() -> None:
    folder = shared("peterrec-format")
    dataset = made(pretrain="teracon_example_task1.csv", ranking={"click": "teracon_example_task2.csv"})
    frame = dataset.events(folder).frame.collect()
    assert frame.filter(domain="source")["item"].n_unique() == 903  # 904 with the padding
    assert frame.filter(domain="click")["item"].n_unique() == 44

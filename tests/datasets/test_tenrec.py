"""Tenrec's csv files: events by signal, labels with 0 as unknown, the recipe of the paper."""

from pathlib import Path

import pytest

from userrep.datasets.tenrec import Tenrec
from userrep.errors import ConfigError, DataError
from userrep.sequences.prepare import prepare

HEADER = "user_id,item_id,click,follow,like,share,video_category,watching_times,gender,age\n"
VIDEO = [  # user, item, click, like, gender, age
    ("7", "a", 1, 0, 1, 3), ("7", "b", 0, 1, 1, 3), ("9", "a", 1, 1, 0, 2), ("7", "c", 1, 0, 1, 0),
    ("8", "a", 1, 0, 2, 0), ("9", "b", 1, 0, 1, 2), ("9", "b", 1, 0, 2, 2),
]  # fmt: skip
FILES = {"video": "QK-video.csv"}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    rows = (f"{u},{i},{click},0,{like},0,5,1,{gender},{age}\n" for u, i, click, like, gender, age in VIDEO)
    (folder / "QK-video.csv").write_text(HEADER + "".join(rows))
    (folder / "QK-article.csv").write_text("user_id,item_id,click,like\n9,x,1,1\n5,x,1,0\n7,y,1.0,0\n")
    return folder


def made(**changes: object) -> Tenrec:
    return Tenrec(**({"name": "toy", "files": FILES, "main": "video"} | changes))  # type: ignore[arg-type]


def rows(dataset: Tenrec, raw: Path) -> list[tuple[str, str]]:
    return dataset.events(raw).frame.sort("row").collect().select("user", "item").rows()


def test_clicks_are_events_in_the_order_of_the_file(raw: Path) -> None:
    assert rows(made(), raw) == [("7", "a"), ("9", "a"), ("7", "c"), ("8", "a"), ("9", "b"), ("9", "b")]
    assert rows(made(signals={"video": "like"}), raw) == [("7", "b"), ("9", "a")]


def test_zero_is_no_class_and_rows_that_disagree_give_none(raw: Path, tmp_path: Path) -> None:
    prepared = prepare(made(labels=["gender", "age"]), {"name": "toy"}, raw, tmp_path / "out")
    labels = {
        user: tuple(
            prepared.classes(name)[code] if (code := prepared.labels(name)[row]) >= 0 else None
            for name in ("gender", "age")
        )
        for row, user in enumerate(prepared.user_ids)
    }
    assert labels == {"7": ("1", "3"), "8": ("2", None), "9": (None, "2")}


def test_the_recipe_filters_the_main_domain_and_others_keep_common_users(raw: Path, tmp_path: Path) -> None:
    assert rows(made(min_item_count=2), raw) == [("7", "a"), ("9", "a"), ("8", "a"), ("9", "b"), ("9", "b")]
    assert rows(made(max_item_count=2), raw) == [("7", "c"), ("9", "b"), ("9", "b")]
    assert rows(made(first_users=1), raw) == [("7", "a"), ("7", "c")]
    four = made(files={"article": "QK-article.csv"} | FILES, first_users=2, common=True)
    assert rows(four, raw) == [("9", "x"), ("7", "y"), ("7", "a"), ("9", "a"), ("7", "c"), ("9", "b"), ("9", "b")]
    assert prepare(four, {"name": "toy"}, raw, tmp_path / "out").domains == ["video", "article"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user_id,item_id,hist_1\n1,2,3\n", "no column 'click'; it has user_id, item_id, hist_1"),
        (HEADER + "1,2,1,0,0,0,5,1,1,1\n1,2,x,0,0,0,5,1,1,1\n", "line 3: click is 'x', not 0 or 1"),
        (HEADER + "1,,1,0,0,0,5,1,1,1\n", "line 2: a row without user or item"),
        (HEADER + "1,2,0,0,0,0,5,1,1,1\n", "no row with click 1"),
        (HEADER + "1,2,1,0,0,0,5,1,1,1\n1,2\n", "line 3: click is '', not 0 or 1"),
        ("", "cannot read"),
    ],
)
def test_a_file_of_another_task_or_a_broken_row_is_named(raw: Path, text: str, message: str) -> None:
    (raw / "QK-video.csv").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        rows(made(), raw)
    assert caught.value.hint


def test_what_cannot_be_is_refused(raw: Path) -> None:
    with pytest.raises(ConfigError, match="names the domain 'music'"):
        made(main="music")
    with pytest.raises(ConfigError, match=r"dataset\.signals names the domain 'music'"):
        made(signals={"music": "like"})
    with pytest.raises(DataError, match="no events left"):
        rows(made(min_item_count=99), raw)
    with pytest.raises(DataError, match="there is no file"):
        rows(made(files={"video": "absent.csv"}), raw)

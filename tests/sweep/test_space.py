"""Search spaces: what is drawn in a command, and what no range is."""

import pytest

from userrep.errors import UsageError
from userrep.sweep.space import Choice, Interval, space_of

WORDS = ("transfer", "--method", "head,full", "trainer.lr=log:1e-4:1e-2", "method.table_rank=0,8", "task=gender")


def test_lists_are_choices_and_ranges_are_intervals() -> None:
    space = space_of(
        (*WORDS, "trainer.epochs=int:2:8:2", "model.dropout=float:0:0.5", "trainer.batch_size=logint:8:256")
    )
    assert space.dimensions == {
        "method": Choice(("head", "full")),
        "trainer.lr": Interval(1e-4, 1e-2, whole=False, log=True),
        "method.table_rank": Choice(("0", "8")),
        "trainer.epochs": Interval(2, 8, whole=True, log=False, step=2),
        "model.dropout": Interval(0.0, 0.5, whole=False, log=False),
        "trainer.batch_size": Interval(8, 256, whole=True, log=True),
    }


def test_values_take_the_place_of_what_they_are_drawn_from() -> None:
    space = space_of(WORDS)
    drawn = space.words({"method": "full", "trainer.lr": 0.00123, "method.table_rank": "8"})
    assert drawn == ("transfer", "--method", "full", "trainer.lr=0.00123", "method.table_rank=8", "task=gender")
    assert space.words({}) == WORDS


def test_the_corners_have_every_choice_and_both_ends() -> None:
    corners = list(space_of(WORDS).corners())
    assert {corner["method"] for corner in corners} == {"head", "full"}
    assert {corner["trainer.lr"] for corner in corners} == {1e-4, 1e-2}
    assert {corner["method.table_rank"] for corner in corners} == {"0", "8"}
    assert len(corners) == 1 + 3


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("trainer.lr=log:0:1", "is no range"),
        ("trainer.lr=log:1e-2:1e-4", "is no range"),
        ("trainer.lr=log:1e-4", "is no range"),
        ("trainer.lr=log:1e-4:1e-2:1e-3", "is no range"),
        ("trainer.epochs=int:1:2.5", "is no range"),
        ("trainer.epochs=int:1:9:0", "is no range"),
        ("trainer.lr=float:a:b", "is no range"),
        ("seed=0,1,2", "a search over seeds"),
        ("trainer.lr=0.1", "nothing to search"),
    ],
)
def test_what_is_no_space_is_refused(word: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        space_of(("transfer", word))

"""What the columns of a table are, from their names."""

import polars as pl
import pytest

from userrep.datasets.guess import guess_columns, guess_key, guess_text, judge_labels, plain_name
from userrep.errors import DataError


def guess(*columns: str, **given: str) -> dict[str, str | None]:
    """Guess the columns of a table with three rows."""
    rows = pl.DataFrame({column: ["a", "b", "c"] for column in columns} | {"line": [2, 3, 4]})
    return guess_columns(rows, given, "events.csv")


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (("user", "item", "time"), ("user", "item", "time", None, None)),
        (("userId", "movieId", "rating", "timestamp"), ("userId", "movieId", "timestamp", "rating", None)),
        (("reviewerID", "asin", "overall", "reviewTime"), ("reviewerID", "asin", "reviewTime", "overall", None)),
        (("user_id:token", "item_id:token", "ts:float"), ("user_id:token", "item_id:token", "ts:float", None, None)),
        (("Customer ID", "SKU", "Order", "Category"), ("Customer ID", "SKU", None, None, "Category")),
        (("item", "movie", "user", "uid"), ("user", "item", None, None, None)),
        (("visitor", "url", "when", "score", "site", "category"), ("visitor", "url", "when", "score", "site")),
    ],
)  # fmt: skip
def test_common_names_are_known(columns: tuple[str, ...], found: tuple[str | None, ...]) -> None:
    assert tuple(guess(*columns).values()) == found


def test_a_flag_names_a_column_or_none_and_leaves_the_others_to_be_guessed() -> None:
    assert guess("a", "b", "time", "user", user="a", item="b", time="none") == {
        "user": "a", "item": "b", "time": None, "rating": None, "domain": None,
    }  # fmt: skip
    assert guess("user", "item", "date", "time", time="date")["time"] == "date"
    with pytest.raises(DataError, match="no column 'stars'; it has user, item") as caught:
        guess("user", "item", rating="stars")
    assert "choose from" in caught.value.hint


def test_a_column_that_is_needed_and_not_there_is_asked_for() -> None:
    with pytest.raises(DataError, match=r"no column of events\.csv looks like the items; it has user, what") as caught:
        guess("user", "what")
    assert "--user-col COLUMN --item-col COLUMN" in caught.value.hint


def test_a_category_of_many_kinds_is_a_domain_only_when_it_is_named() -> None:
    many = {"user": "u", "item": "i", "category": [str(kind) for kind in range(30)]}
    rows = pl.DataFrame(many)
    assert guess_columns(rows, {}, "e")["domain"] is None
    assert guess_columns(rows, {"domain": "category"}, "e")["domain"] == "category"


def test_signs_and_types_do_not_matter() -> None:
    assert [plain_name(name) for name in ("User_ID", "user-id", "user id:token")] == ["userid"] * 3


def test_side_tables_have_their_keys_and_texts() -> None:
    assert guess_key(["id", "who", "user"], "user", "who", "u.csv") == "who"
    assert guess_key(["customer", "age"], "user", "who", "u.csv") == "customer"
    with pytest.raises(DataError, match="looks like the users") as caught:
        guess_key(["a", "b"], "user", "who", "u.csv")
    assert "'who'" in caught.value.hint
    assert guess_text(["item", "price", "title"], "item", "i.csv") == "title"
    assert guess_text(["item", "genre"], "item", "i.csv") == "genre"
    with pytest.raises(DataError, match="no column beside 'item'"):
        guess_text(["item"], "item", "i.csv")


def test_a_label_has_two_classes_at_least_and_not_one_a_user() -> None:
    users = pl.DataFrame({
        "sex": ["f", "m", None] * 30, "land": ["DE", None, "DE"] * 30, "name": [str(n) for n in range(90)],
        "none": pl.Series([None] * 90, dtype=pl.String),
    })  # fmt: skip
    judged = {label.name: label.reason for label in judge_labels(users, users.columns)}
    assert judged["sex"] == ""
    assert judged["land"] == "it has one class ('DE'): nothing to tell apart"
    assert judged["name"] == "it has 90 classes"
    assert judged["none"] == "it is empty"


def test_one_column_cannot_be_two_things() -> None:
    with pytest.raises(DataError, match="'a' is given as user and as item"):
        guess("a", "b", user="a", item="a")

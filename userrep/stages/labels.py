"""Labels: those of a data set that can be asked for."""

from collections.abc import Sequence

from userrep.errors import DataError
from userrep.sequences.store import Prepared


def labels_of(data: Prepared) -> list[str]:
    """Return the labels of a data set; DataError where it has none."""
    found = [label["name"] for label in data.meta["labels"]]
    if not found:
        raise DataError(
            f"{data.name} has no labels",
            "prepare it with a table of users: userrep preprocess --from-file EVENTS --users-file USERS --label COLUMN",
        )
    return found


def labels_to_predict(data: Prepared, asked: Sequence[str] = ()) -> list[str]:
    """Return the labels asked for, or all that have two classes or more.

    Raises:
        DataError: the data set lacks a label, or has fewer than two classes of it.
    """
    known = labels_of(data)
    for name in asked:
        if len(classes := data.classes(name)) < 2:
            raise DataError(f"label '{name}' has fewer than two classes: {classes}", "choose another label")
    found = list(dict.fromkeys(asked)) or [name for name in known if len(data.classes(name)) > 1]
    if not found:
        raise DataError(f"no label of {data.name} has two classes: {', '.join(known)}", "prepare it with another label")
    return found

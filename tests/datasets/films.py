"""One small MovieLens in all its layouts, and an official copy of atomic files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from userrep.files import sha256_of, write_json

FILMS = {
    "1": "Toy Story (1995)",
    "2": 'Say "Cheese", or: Not (1999)',
    "3": "Misérables, Les (1995)",
    "4": "Chasing Amy (1997)",
    "5": "Chasing Amy (1997)",  # two numbers, one film
    "6": "Star Wars: Episode IV (1977)",
    "7": "Never Rated (2000)",
}
RATINGS = [  # user, film, stars, time
    ("2", "1", "5", "880000003"), ("2", "3", "4", "880000001"), ("2", "2", "3", "880000001"),
    ("10", "4", "1", "880000002"), ("10", "5", "2", "880000009"), ("10", "6", "3", "880000004"),
    ("2", "6", "4", "880000009"), ("1", "1", "4", "880000000"), ("10", "1", "4", "880000004"),
]  # fmt: skip
USERS_100K = [  # user, age, gender, occupation, zip
    ("1", "7", "F", "other", "92683-1892"), ("2", "24", "M", "writer", "E2A4H"), ("10", "55", "M", "none", "00501"),
]  # fmt: skip
USERS_1M = [  # user, gender, age, occupation, zip
    ("1", "F", "1", "10", "48067"), ("2", "M", "18", "0", "92683-1892"), ("10", "M", "50", "3", "00501"),
]  # fmt: skip


def record(folder: Path, layout: str) -> Path:
    """Write the record that a download leaves beside the files of `folder`."""
    (folder / "source.json").unlink(missing_ok=True)
    files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in folder.iterdir()}
    write_json(folder / "source.json", {"format": 1, "source": "a test", "layout": layout, "files": files})
    return folder


def lines(path: Path, separator: str, rows: Iterable[Any], encoding: str = "utf-8", end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(separator.join(row) + end for row in rows).encode(encoding))


def official_100k(folder: Path) -> Path:
    lines(folder / "u.data", "\t", RATINGS)
    lines(folder / "u.user", "|", USERS_100K)
    lines(
        folder / "u.item", "|", [(*film, "01-Jan-1995", "", "url", *"01" * 9, "0") for film in FILMS.items()], "latin-1"
    )
    return record(folder, "official")


def official_1m(folder: Path) -> Path:
    lines(folder / "ratings.dat", "::", RATINGS)
    lines(folder / "users.dat", "::", USERS_1M)
    lines(folder / "movies.dat", "::", [(*film, "Comedy|Drama") for film in FILMS.items()], "latin-1")
    return record(folder, "official")


def atomic_100k(folder: Path) -> Path:
    header = ("user_id:token", "age:token", "gender:token", "occupation:token", "zip_code:token")
    _atomic(folder, "100k_", [header, *(("100k_" + row[0], *row[1:]) for row in USERS_100K)])
    return record(folder, "atomic")


def atomic_1m(folder: Path) -> Path:
    header = ("user_id:token", "age:float", "gender:token", "occupation:float", "zip_code:token")
    rows = [("1m_" + user, age, gender, work, zip_code) for user, gender, age, work, zip_code in USERS_1M]
    _atomic(folder, "1m_", [header, *rows])
    return record(folder, "atomic")


def _atomic(folder: Path, prefix: str, users: list[tuple[str, ...]]) -> None:
    header = ("user_id:token", "item_id:token", "rating:float", "timestamp:float")
    events = [(prefix + user, FILMS[film], stars, time) for user, film, stars, time in RATINGS]
    films = [(title, title[:-7], title[-5:-1], "Comedy") for title in FILMS.values()]
    lines(folder / "toy.inter", "\t", [header, *events], end="\r\n")
    lines(folder / "toy.user", "\t", users, end="\r\n")
    item_header = ("item_id:token", "movie_title:token", "release_year:token", "class:token_seq")
    lines(folder / "toy.item", "\t", [item_header, *films], end="\r\n")


def official_copy(atomic: Path, folder: Path, prefix: str, *, big: bool) -> Path:
    """Write atomic MovieLens files in the official layout of ml-1m (`big`) or ml-100k."""
    (inter, user, item) = (next(atomic.glob(f"*.{suffix}")) for suffix in ("inter", "user", "item"))
    tables = [[line.split("\t") for line in path.read_text("utf-8").splitlines()[1:]] for path in (inter, user, item)]
    numbers = {title: str(number) for number, (title, *_) in enumerate(tables[2], 1)}
    events = [(user.removeprefix(prefix), numbers[title], stars, time) for user, title, stars, time in tables[0]]
    users = [(user.removeprefix(prefix), age, gender, *rest) for user, age, gender, *rest in tables[1]]
    titles = [(str(number), title) for number, (title, *_) in enumerate(tables[2], 1)]
    if big:
        lines(folder / "ratings.dat", "::", events)
        lines(folder / "users.dat", "::", [(user, gender, age, *rest) for user, age, gender, *rest in users])
        lines(folder / "movies.dat", "::", [(*film, "Drama") for film in titles], "latin-1")
    else:
        lines(folder / "u.data", "\t", events)
        lines(folder / "u.user", "|", users)
        lines(folder / "u.item", "|", [(*film, "", "", "", *"0" * 19) for film in titles], "latin-1")
    return record(folder, "official")

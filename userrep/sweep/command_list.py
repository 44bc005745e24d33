"""Command lists: a text file with one `userrep` command a line."""

import shlex
from pathlib import Path

from userrep.errors import UsageError
from userrep.files import explaining_write_errors
from userrep.sweep.trial import AGAIN, Trial, slug
from userrep.sweep.words import named_run

PREFIXES = (("userrep",), ("python", "-m", "userrep"), ("python3", "-m", "userrep"))


def read_list(path: Path) -> list[Trial]:
    """Return the commands of a file as trials; empty lines and what follows a `#` are left out.

    Raises:
        UsageError: the file is not there, holds no command, or a line of it is none.
    """
    if not path.is_file():
        raise UsageError(f"there is no list {path}", "name a text file with one userrep command a line")
    with explaining_write_errors(path):
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise UsageError(f"{path} is no UTF-8 text", "convert the file: iconv -f latin1 -t utf-8") from error
    found: dict[tuple[str, ...], Trial] = {}
    for number, line in enumerate(lines, start=1):
        if words := _words(path, number, line):
            found.setdefault(words, Trial(words, _name(number, words)))
    if not found:
        raise UsageError(f"{path} holds no command", "write one userrep command a line")
    return list(found.values())


def _words(path: Path, number: int, line: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(line, comments=True))
    except ValueError as error:
        raise UsageError(f"line {number} of {path} cannot be read: {error}", "close the quote") from error
    for prefix in PREFIXES:
        if words[: len(prefix)] == prefix:
            words = words[len(prefix) :]
            break
    if words[:1] == ("sweep",):
        raise UsageError(f"line {number} of {path} is a sweep itself", "write what it stands for, a command a line")
    return tuple(word for word in words if word not in AGAIN[1:])


def _name(number: int, words: tuple[str, ...]) -> str:
    run = named_run(words)
    return f"line {number}: {words[0]} {slug(run.name) if run else ''}".strip()

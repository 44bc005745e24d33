"""Command lists: one command a line."""

from pathlib import Path

import pytest

from userrep.errors import UsageError
from userrep.sweep.command_list import read_list


def written(folder: Path, text: str) -> Path:
    (folder / "list.txt").write_text(text, encoding="utf-8")
    return folder / "list.txt"


def test_a_line_is_a_command_and_comments_are_left_out(tmp_path: Path) -> None:
    text = "# all\n\nuserrep pretrain --run 'runs/a b'  # the base\npython -m userrep evaluate x --json\nevaluate x\n"
    found = read_list(written(tmp_path, text))
    assert [trial.words for trial in found] == [("pretrain", "--run", "runs/a b"), ("evaluate", "x")]
    assert [trial.name for trial in found] == ["line 3: pretrain a_b", "line 4: evaluate"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no command"),
        ("# nothing\n", "holds no command"),
        ("pretrain\nevaluate 'x\n", "line 2 of .* cannot be read"),
        ("userrep sweep pretrain\n", "line 1 of .* is a sweep itself"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_list(written(tmp_path, text))
    with pytest.raises(UsageError, match="there is no list"):
        read_list(tmp_path / "other.txt")
    (tmp_path / "latin").write_bytes("evaluate läufe\n".encode("latin1"))
    with pytest.raises(UsageError, match="no UTF-8 text"):
        read_list(tmp_path / "latin")


def test_a_line_keeps_its_folder_when_the_list_grows_above_it(tmp_path: Path) -> None:
    before = read_list(written(tmp_path, "evaluate x\n"))[0]
    after = read_list(written(tmp_path, "evaluate y\nevaluate x\n"))[1]
    assert before.folder == after.folder

"""A machine that lacks some of our packages, for tests: a process in which they cannot be imported."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import userrep as package

ABSENT = ("polars", "hydra", "omegaconf", "antlr4", "scipy", "sklearn", "pandas", "matplotlib")
HERE = {"PYTHONPATH": str(Path(package.__file__).parent.parent)}
SCRIPT = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.machinery import PathFinder

absent, commands = json.loads(sys.argv[1])

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else super().find_spec(name, path, target)

sys.meta_path[:] = [Finder if finder is PathFinder else finder for finder in sys.meta_path]
for name in absent:
    try:
        __import__(name)
    except ImportError:
        continue
    sys.exit(f"{name} can still be imported")

from userrep.cli import main

told = []
for words in commands:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(words)
        except SystemExit as ended:
            code = ended.code or 0
    told.append([code, out.getvalue(), err.getvalue()])
assert not set(absent) & set(sys.modules)
print(json.dumps(told))
"""


def run(commands: Sequence[Sequence[str]], cwd: Path, absent: Sequence[str] = ABSENT) -> list[tuple[int, str, str]]:
    """Run command lines of userrep in one such process; return exit code, stdout and stderr of each."""
    asked = json.dumps([list(absent), [list(words) for words in commands]])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, asked],
        cwd=cwd, env=os.environ | HERE, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [(code, out, err) for code, out, err in json.loads(done.stdout)]

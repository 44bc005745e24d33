"""Environments of the peers: a venv each, with pinned versions, under a folder of the user's choice."""

import shutil
import subprocess
import sys
from pathlib import Path

from userrep import console

PINS = {
    "recbole": ("torch==2.13.0", "recbole==1.2.1", "numpy==1.26.4", "pandas==2.2.3", "scipy==1.13.1"),
    "rectools": ("torch==2.13.0", "rectools[torch]==0.19.0"),  # it chooses numpy 1.26 and pandas 2.3
}


def environment(peer: str, cache: Path) -> Path:
    """Return the interpreter of a peer's venv, made where it is not there yet.

    Raises subprocess.CalledProcessError where a package cannot be installed; pip has said why by then.
    """
    folder = cache / peer
    python, whole = folder / "bin" / "python", folder / "installed"
    if whole.exists() and whole.read_text(encoding="utf-8") == " ".join(PINS[peer]):
        return python
    shutil.rmtree(folder, ignore_errors=True)
    console.note(f"installing {' '.join(PINS[peer])} into {folder}")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PINS[peer]], check=True, stdout=sys.stderr)
    whole.write_text(" ".join(PINS[peer]), encoding="utf-8")
    return python

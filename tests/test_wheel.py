"""A wheel carries its config and works from any folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (TOP / "pyproject.toml").exists(), reason="needs a checkout"),
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheel of this checkout is installed, and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(TOP)]
    subprocess.run([*pip, *build], check=True, capture_output=True)
    (wheel,) = folder.glob("userrep-*.whl")
    place = ["install", "--no-deps", "--target", str(folder / "site"), str(wheel)]
    subprocess.run([*pip, *place], check=True, capture_output=True)
    return folder / "site"


def userrep(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-m", "userrep", *words],
        cwd="/", env=environment | {"PYTHONPATH": str(site)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_the_installed_wheel_helps_from_the_root_folder(installed: Path) -> None:
    done = userrep(installed, "--help")
    assert done.returncode == 0
    assert "Usage: userrep" in done.stdout


def test_the_installed_wheel_brings_every_config_file(installed: Path) -> None:
    here = {str(path.relative_to(TOP / "conf")) for path in (TOP / "conf").rglob("*.yaml")}
    there = {str(path.relative_to(installed / "userrep/conf")) for path in (installed / "userrep/conf").rglob("*.yaml")}
    assert here == there
    assert here


def test_the_installed_wheel_composes_from_its_own_config(installed: Path) -> None:
    done = userrep(installed, "pretrain", "dataset=synthetic", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["config"]["dataset"]["name"] == "synthetic"


def test_the_wheel_has_no_tests_and_no_caches(installed: Path) -> None:
    assert not (installed / "tests").exists()
    assert not (installed / "conf").exists()

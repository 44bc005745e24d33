"""Ray: what its workers run, and a cluster that is not there."""

import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import pytest
from stubs import STUB, noted

from userrep.errors import UsageError
from userrep.sweep.on_ray import STOP, conduct, on_ray


def test_a_worker_runs_the_command_in_the_folder_of_the_sweep(tmp_path: Path) -> None:
    command = [*STUB, "notes", "0", "3", "name", "--json"]
    assert conduct(command, str(tmp_path), str(tmp_path / "place"), {"OMP_NUM_THREADS": "3"}) == 3
    assert (tmp_path / "notes").read_text().splitlines()[0].endswith(" 3")
    assert "the disk" in (tmp_path / "place" / "answer.json").read_text()
    assert (tmp_path / "place" / "log.txt").read_text() == "working\n"


def test_a_worker_stops_its_child_when_it_finds_the_file(tmp_path: Path) -> None:
    notes = tmp_path / "notes"

    def stop() -> None:
        while not noted(notes):
            time.sleep(0.02)
        (tmp_path / "place" / STOP).touch()

    thread = threading.Thread(target=stop)
    thread.start()
    code = conduct([*STUB, str(notes), "60", "0", "name"], str(tmp_path), str(tmp_path / "place"), {})
    thread.join()
    assert code == 143
    assert noted(notes, "stopped") == ["name"]


def test_a_worker_begins_nothing_once_the_sweep_is_stopped(tmp_path: Path) -> None:
    (tmp_path / STOP).touch()
    assert conduct([*STUB, str(tmp_path / "notes"), "0", "0", "name"], str(tmp_path), str(tmp_path), {}) == 143
    assert not (tmp_path / "notes").exists()


def test_a_cluster_that_is_not_there_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    began = time.monotonic()
    with pytest.raises(UsageError, match=r"no Ray cluster answers at 127.0.0.1:1"), on_ray(1, 1, None):
        pass
    assert time.monotonic() - began < 60

"""The report: what was measured, beside the machine, the versions and the day that it was measured with."""

import time
from pathlib import Path
from typing import Any

from userrep import console
from userrep.files import write_json
from userrep.run import provenance


def conditions() -> dict[str, Any]:
    """Return what every report begins with."""
    return {
        "machine": provenance.machine(), "versions": provenance.versions(), "commit": provenance.commit(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }  # fmt: skip


def write(target: Path, report: dict[str, Any]) -> None:
    """Write a report as JSON and say where."""
    write_json(target, report)
    console.note(f"written: {target}")

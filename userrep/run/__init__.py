"""Run directories: what a run holds, where it came from, who may write it."""

from userrep.run.record import Run, config_hash, default_path, list_runs, newest_run, open_run
from userrep.run.writing import Session, writing

__all__ = ["Run", "Session", "config_hash", "default_path", "list_runs", "newest_run", "open_run", "writing"]

"""The files that a path stands for: itself, those of a folder, or those that fit a pattern."""

import glob
from pathlib import Path

from userrep.errors import DataError

KINDS = (".csv", ".tsv", ".txt", ".parquet", ".jsonl", ".ndjson", ".json")  # packed with gzip or not


def found_files(path: Path) -> list[Path]:
    """List the files that `path` stands for, in order of their names; none where there is none."""
    if path.is_file():
        return [path]
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file() and _is_table(file, path))
    if not glob.has_magic(str(path)):
        return []
    return sorted(file for file in map(Path, glob.glob(str(path), recursive=True)) if file.is_file())


def event_files(path: Path) -> list[Path]:
    """List the files that `path` stands for.

    Raises:
        DataError: a folder holds no table, or no file fits a pattern. A missing file is left to its reader.
    """
    found = found_files(path)
    if not found and path.is_dir():
        hint = f"a table is a file {', '.join(KINDS)}, or one of them .gz"
        raise DataError(f"the folder {path} holds no table", hint)
    if not found and glob.has_magic(str(path)):
        raise DataError(f"no file fits {path}", "check the pattern: it is taken from the current folder")
    return found or [path]


def _is_table(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)
    kind = file.with_suffix("") if file.suffix.lower() == ".gz" else file
    return not hidden and kind.suffix.lower() in KINDS

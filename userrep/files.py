"""Files written whole or not at all, with hashes of what they hold."""

import errno
import hashlib
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from userrep.errors import DataError, UserRepError

DEEPEST = 100  # collections within one another in a file of ours: some ten are usual

_REMEDIES = {
    errno.ENOSPC: "free some space, or write elsewhere with --data-dir, --run or --out, then run it again",
    errno.EDQUOT: "free some of your quota, or write elsewhere with --data-dir, --run or --out",
    errno.EACCES: "give yourself write permission there, or write elsewhere with --data-dir, --run or --out",
    errno.EPERM: "give yourself write permission there, or write elsewhere with --data-dir, --run or --out",
    errno.EROFS: "the file system is read-only: write elsewhere with --data-dir, --run or --out",
    errno.ENOTDIR: "part of that path is a file: name another place with --data-dir, --run or --out",
    errno.EEXIST: "part of that path is a file: name another place with --data-dir, --run or --out",
    errno.EISDIR: "that path is a folder: name a file",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EFBIG: "the file is larger than this file system or its limits allow: write elsewhere",
    errno.EIO: "the device reported an input/output error: check it, or write elsewhere",
}


@contextmanager
def explaining_write_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a missing permission into a DataError that names `path`."""
    try:
        yield
    except UserRepError:
        raise
    except Exception as error:
        number = _system_error(error)
        if number not in _REMEDIES:
            raise
        raise DataError(f"cannot write {path}: {os.strerror(number)}", _REMEDIES[number]) from error


def _system_error(error: Exception) -> int:
    """Return the system's error number, or 0; safetensors, torch, polars and numpy put it in words of their own."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    text = str(error).lower()
    numbered = re.search(r"os error (\d+)", text)
    if numbered:
        return int(numbered[1])
    signs = ("no space left", "file write failed", "unexpected pos", " requested and ")
    return errno.ENOSPC if any(sign in text for sign in signs) else 0


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place, flushed to disk, when the block succeeds.

    The folder is made. On any error the temporary file is removed and `path` is as it was.
    The temporary name keeps the suffix (`numpy.save` adds one where it is missing).

    Raises:
        DataError: the disk is full, read-only or not ours to write.
    """
    target = Path(path)
    if not target.name:  # "" is the current folder
        raise DataError(f"cannot write {target}: Is a directory", _REMEDIES[errno.EISDIR])
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.tmp{target.suffix}")
    with explaining_write_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            _flush(temporary)
            os.replace(temporary, target)
            _flush(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_parts(path: Path | str) -> Iterator[Path]:
    """Yield a temporary folder for the parts of a table; a lone part, else the folder, takes the place of `path`.

    A folder that is there is replaced as a file is: what is in it is for the caller to look at before. On any error
    the temporary folder is removed and `path` is as it was.

    Raises:
        DataError: the disk is full, read-only or not ours to write.
    """
    target = Path(path)
    temporary, former = (target.with_name(f".{target.stem}.{secrets.token_hex(4)}.tmp{target.suffix}") for _ in "12")
    with explaining_write_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.mkdir()
            yield temporary
            parts = list(temporary.iterdir())
            for written in (*parts, temporary):
                _flush(written)
            if target.is_dir() or (target.exists() and len(parts) > 1):  # of these, the system replaces none
                os.replace(target, former)
            os.replace(parts[0] if len(parts) == 1 else temporary, target)
            _flush(target.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    _remove(former)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path, names: Iterable[str]) -> None:
    """Remove the temporary files that a killed `replacing` of the files `names` left in `folder`.

    They are those that the caller alone writes there: of others, a living process may be writing one.
    """
    for name in map(Path, names):
        for leftover in folder.glob(f".{name.stem}.*.tmp{name.suffix}"):
            leftover.unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """Reduce `value` to what JSON can say: arrays, paths and tuples unwrapped, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if isinstance(value, Path):
        return str(value)
    if not isinstance(value, (str, bytes)) and hasattr(value, "tolist"):  # numpy and torch scalars and arrays
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path | str) -> Any:
    """Read a JSON file; raise DataError where it is missing or damaged."""
    try:
        return json.loads(_read_text(Path(path)))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON: {error}", "it may be damaged: make it again") from error


def write_yaml(path: Path | str, value: Any) -> None:
    """Write `value` as YAML in the order given, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(to_yaml(value), encoding="utf-8")


def to_yaml(value: Any) -> str:
    """Return `value` as YAML in the order given."""
    import yaml

    return str(yaml.safe_dump(plain(value), sort_keys=False, allow_unicode=True))


def read_yaml(path: Path | str) -> Any:
    """Read a YAML file of plain values; raise DataError where it is missing or damaged."""
    import yaml

    text = _read_text(Path(path))
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C nine times as fast
    try:
        depth = 0
        for event in yaml.parse(text, Loader=loader):  # without recursion: loading in C has no limit but the stack
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise DataError(f"{path} is nested more than {DEEPEST} deep", "it is no file of userrep: remove it")
        return loader(text).get_single_data()
    except yaml.YAMLError as error:
        cause = " ".join(str(error).split())
        raise DataError(f"{path} is not valid YAML: {cause}", "it may be damaged: make it again") from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        cause = f"{path} is not UTF-8 text (byte {error.start})"
        raise DataError(cause, "it may be damaged: make it again") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path | str, error: OSError) -> DataError:
    return DataError(f"cannot read {path}: {error.strerror}", "check the path and its permissions")


def sha256_of(path: Path | str) -> str:
    """Return the sha256 of a file as hex digits."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def digest(value: Any) -> str:
    """Return the sha256 (hex) of the canonical JSON of `value`: key order does not matter, values do."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()

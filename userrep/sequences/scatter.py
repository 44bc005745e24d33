"""Events on disk, divided by a hash of their user into shares that each fit into memory."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from userrep.datasets.blocks import Place
from userrep.datasets.dataset import Part, PartwiseDataset
from userrep.datasets.ids import alike, hashed
from userrep.errors import DataError
from userrep.files import read_json
from userrep.sequences.coding import as_numbers
from userrep.sequences.schema import refuse_odd_domains

RECORD = "part.json"


def scatter(
    dataset: PartwiseDataset, path: Path, number: int, folder: Path, size: int, shares: int, tell: Callable[[int], None]
) -> None:
    """Divide the events of one file, the one of this number, into shares, going on after the parts that are there.

    Each part is a folder with a file a share and a record; `tell` is called with the events of each.

    Raises:
        DataError: the file is missing or damaged, or only some events of a part have times.
    """
    finished = list(records(folder, number))
    for record in finished:
        tell(record["rows"])
    if finished and finished[-1]["last"]:
        return
    begin = Place(*finished[-1]["end"]) if finished else None
    for count, part in enumerate(dataset.parts(path, size, begin), len(finished)):
        _write(part, folder / f"{number:05d}-{count:06d}", shares, dataset.name)
        tell(len(part.frame))


def records(folder: Path, number: int) -> Iterator[dict[str, Any]]:
    """Yield the records of the parts of one file that are there, in order, each with its `path`."""
    count = 0
    while (record := read_record(folder / f"{number:05d}-{count:06d}", RECORD)) is not None:
        yield record
        count += 1


def read_record(folder: Path, name: str) -> dict[str, Any] | None:
    """Read the record of a finished folder, and add its `path`; None where it is not whole, which removes it."""
    if not folder.exists():
        return None
    try:
        record = read_json(folder / name)
        if all((folder / file).stat().st_size == size for file, size in record["files"].items()):
            return record | {"path": folder}
    except (DataError, OSError):
        pass
    shutil.rmtree(folder)  # the machine stopped before the disk had it
    return None


def finish(temporary: Path, folder: Path, name: str, record: Mapping[str, Any]) -> None:
    """Give a folder its record, with the bytes of its files, and then its name.

    Nothing is flushed: a kill does no harm to what was written, and after a failure of power the bytes tell.
    """
    sizes = {path.name: path.stat().st_size for path in temporary.iterdir()}
    (temporary / name).write_text(json.dumps({**record, "files": sizes}), encoding="utf-8")
    temporary.rename(folder)


def empty_folder(path: Path) -> Path:
    """Make an empty folder in which what `path` is to hold can be written."""
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    return temporary


def _write(part: Part, target: Path, shares: int, name: str) -> None:
    frame = part.frame
    domains = frame["domain"].unique(maintain_order=True)
    refuse_odd_domains(domains, name)
    timed = frame.group_by("domain").agg(some=pl.col("time").is_not_null().any(), none=pl.col("time").is_null().any())
    record = {
        "rows": len(frame),
        "domains": domains.to_list(),
        "named": list(part.domains.items()),
        "timed": {domain: [some, none] for domain, some, none in timed.iter_rows()},
        "kept": part.tally.kept,
        "broken": part.tally.broken,
        "shown": part.tally.shown,
        "unit": part.tally.unit,
        "end": [part.end.at, part.end.line],
        "last": part.last,
    }
    temporary = empty_folder(target)
    share = (hashed(frame["user"]) % shares).cast(pl.UInt16).to_numpy()
    ordered = _compact(frame)[np.argsort(share, kind="stable")]
    ends = np.cumsum(np.bincount(share, minlength=shares))
    for code, end in enumerate(ends.tolist()):
        begin = int(ends[code - 1]) if code else 0
        if end > begin:
            some = ordered.slice(begin, end - begin)
            some.write_ipc(temporary / share_file(code), compression="lz4", compat_level=pl.CompatLevel.oldest())
    finish(temporary, target, RECORD, record)


def share_file(code: int) -> str:
    """Name the file of a share in the folder of a part."""
    return f"{code:05d}.arrow"


def _compact(frame: pl.DataFrame) -> pl.DataFrame:
    """Leave out what is the same in all events, and keep ids as numbers where they are written as such."""
    columns = [as_numbers(frame[name]) for name in ("user", "item")]
    if frame["domain"].n_unique() > 1:
        columns.append(frame["domain"])
    if (frame["fine"] != 0).any():
        columns.append(frame["fine"])
    columns += [frame[name] for name in ("time", "rating") if frame[name].null_count() < len(frame)]
    return pl.DataFrame(columns)


def read_share(paths: list[Path], code: int) -> pl.DataFrame:
    """Read the events of one share from all parts, in the order of the parts.

    Columns user, item (numbers where all are), domain str, time, fine, rating.
    """
    frames = [_completed(path, code) for path in paths if (path / share_file(code)).exists()]
    if not frames:
        return pl.DataFrame(schema={"user": pl.String})
    return pl.concat(alike(frames, ("user", "item")))


def _completed(path: Path, code: int) -> pl.DataFrame:
    frame = pl.read_ipc(path / share_file(code))
    known = {"time": pl.Int64, "rating": pl.Float32}
    missing = [pl.lit(None, kind).alias(name) for name, kind in known.items() if name not in frame.columns]
    if "fine" not in frame.columns:
        missing.append(pl.lit(0, pl.Int32).alias("fine"))
    if "domain" not in frame.columns:
        missing.append(pl.lit(read_json(path / RECORD)["domains"][0]).alias("domain"))
    return frame.with_columns(missing).select("user", "item", "domain", "time", "fine", "rating")


def refuse_partial_times(timed: dict[str, list[bool]], name: str) -> None:
    """Raise DataError where some events of a domain have times and others have none."""
    for domain, (some, none) in timed.items():
        if some and none:
            raise DataError(
                f"{name}: some events of {domain} have a time and others have none",
                "complete the rows, or use no times at all",
            )

"""Events of a prepared data set, written as the peers read them and as `dataset=table` does."""

from pathlib import Path

import numpy as np
import polars as pl

from userrep.sequences.store import Prepared


def export(data: Prepared, folder: Path, newest: int | None = None) -> Path:
    """Write `events.csv` (user, item, time) and RecBole's `events/events.inter`; return the csv.

    The time of an event is its place in its user's history, so that nobody orders ties another way. Of each user the
    `newest` events are kept, or all.
    """
    sequences = data.sequences()
    lengths = np.diff(sequences.offsets)
    place = np.arange(len(sequences.items)) - np.repeat(sequences.offsets[:-1], lengths)
    kept = place >= np.repeat(lengths - (newest or lengths.max()), lengths)
    user = np.repeat(np.arange(len(lengths)), lengths)[kept]
    frame = pl.DataFrame({"user": user, "item": np.asarray(sequences.items)[kept], "time": place[kept]})
    target = folder / "events.csv"
    (folder / "events").mkdir(parents=True, exist_ok=True)
    frame.write_csv(target)
    named = frame.rename({"user": "user_id:token", "item": "item_id:token", "time": "timestamp:float"})
    named.write_csv(folder / "events" / "events.inter", separator="\t")
    return target

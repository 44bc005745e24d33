"""The items of all shares as one sorted list, and the filters of rare users and items, counted share by share."""

import numpy as np
import polars as pl

from userrep.sequences.share import Share


def number_items(shares: list[Share]) -> pl.Series:
    """Return all items in order of their text; write each share's column `code`: the place of an event's item there."""
    known = pl.Series("item", [], dtype=pl.String)
    for share in shares:
        known = pl.concat([known, share.items()]).unique()
    known = known.sort()
    places = known.to_frame().with_columns(place=pl.int_range(pl.len(), dtype=pl.Int32))
    for share in shares:
        local = share.items().to_frame().join(places, on="item", how="left", maintain_order="left")["place"]
        share.write("code", local.to_numpy()[share.read("item")])
    return known


def keep_dense(shares: list[Share], items: int, domains: int, min_user: int, min_item: int) -> list[Share]:
    """Drop users and items with fewer events than the minima, again and again until none is left to drop.

    Each round reads every share once. Returns shares of what is left; those given stay as they are.
    """
    kept = [np.ones(share.record["events"], dtype=bool) for share in shares]
    met = np.zeros(items * domains, dtype=np.int64)
    for share in shares:
        met += np.bincount(_meeting(share, items), minlength=len(met))
    dropped = True
    while dropped:
        dropped, left = False, np.zeros(items * domains, dtype=np.int64)
        for share, keep in zip(shares, kept, strict=True):
            meeting, owner = _meeting(share, items), share.owners()
            enough = keep & (np.bincount(owner[keep], minlength=owner[-1] + 1)[owner] >= min_user)
            enough &= met[meeting] >= min_item
            dropped |= bool((enough != keep).any())
            keep[:] = enough
            left += np.bincount(meeting[enough], minlength=items * domains)
        met = left
    return [share.only(keep) for share, keep in zip(shares, kept, strict=True)]


def _meeting(share: Share, items: int) -> np.ndarray:
    """Return a number for the domain and item of each event."""
    return share.read("domain").astype(np.int64) * items + share.read("code")

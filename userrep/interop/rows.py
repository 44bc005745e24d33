"""Item rows: which row of a foreign checkpoint belongs to which item of ours."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from userrep.errors import DataError
from userrep.interop.source import Converted
from userrep.sequences.store import Sequences
from userrep.sequences.vocab import PAD, RESERVED

COLUMNS = ["raw_item", "row"]


@dataclass(frozen=True)
class Rows:
    """The checkpoint's row of each of our ids, `(V,)` int64, -1 where it has none.

    `unused` counts its rows that belong to no item of ours.
    """

    of: np.ndarray
    unused: int

    @property
    def missing(self) -> int:
        """Count our items that the checkpoint has no row for."""
        return int((self.of[RESERVED:] < 0).sum())


def same_rows(rows: int, sequences: Sequences, name: str) -> Rows:
    """Take the checkpoint's rows for our own ids; raise DataError where their number differs."""
    if rows != sequences.vocab_size:
        items = sequences.vocab_size - RESERVED
        raise DataError(
            f"the checkpoint has {rows:,} rows, {name} has {sequences.vocab_size:,} ids ({items:,} items)",
            f"say which row is which item: --items FILE, a csv with the columns {','.join(COLUMNS)}",
        )
    return Rows(np.arange(rows), 0)


def mapped_rows(path: Path, rows: int, sequences: Sequences, name: str) -> Rows:
    """Read a csv of `raw_item,row`; the checkpoint's row 0 is padding, as ours is.

    Raises DataError, with the line, for a row that is no number, out of range or named twice; also where no
    item is ours.
    """
    ids = {raw: RESERVED + rank for rank, raw in enumerate(sequences.item_ids)}
    of = np.full(sequences.vocab_size, -1, dtype=np.int64)
    of[PAD] = 0
    seen: dict[int, int] = {}
    for line, raw, row in _entries(path):
        if not 0 < row < rows:
            raise DataError(
                f"{path}, line {line}: row {row} of a checkpoint with {rows}",
                f"give a row from 1 to {rows - 1}",
            )
        if row in seen:
            raise DataError(f"{path}, line {line}: row {row} stands in line {seen[row]} too", "name each row once")
        if raw in ids and of[ids[raw]] >= 0:
            raise DataError(f"{path}, line {line}: item '{raw}' is named twice", "name each item once")
        seen[row] = line
        if raw in ids:
            of[ids[raw]] = row
    if not (of[RESERVED:] >= 0).any():
        raise DataError(
            f"{path} names no item of {name}", f"its items are called '{sequences.item_ids[0]}' and the like"
        )
    return Rows(of, rows - int((of >= 0).sum()))


def _entries(path: Path) -> Iterator[tuple[int, str, int]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            if [cell.strip() for cell in next(lines, [])] != COLUMNS:
                raise DataError(f"{path} does not begin with the line {','.join(COLUMNS)}", "add this header")
            for cells in lines:
                if not cells:
                    continue
                if len(cells) != 2 or not cells[1].strip().isdecimal():
                    raise DataError(
                        f"{path}, line {lines.line_num}: {','.join(cells)!r}",
                        "give raw_item,row with a row number",
                    )
                yield lines.line_num, cells[0], int(cells[1])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}", "give a csv file in UTF-8") from error


def placed(converted: Converted, rows: Rows) -> Converted:
    """Return the model over our ids: item rows permuted, rows of missing items left to their initialisation.

    A missing item's output bias is the lowest of the known ones: no item is recommended for want of training.
    """
    size = len(rows.of)
    fresh = replace(converted, vocab_size=size, encoder={}).module()
    name = "stem.table.weight"
    encoder = converted.encoder | {name: _permuted(converted.encoder[name], rows, fresh.state_dict()[name])}
    head = dict(converted.head)
    if head:
        head["table"] = _permuted(head["table"], rows, torch.zeros(size, head["table"].shape[1]))
        head["bias"] = _permuted(head["bias"], rows, head["bias"][1:].min().expand(size))
    return replace(converted, vocab_size=size, encoder=encoder, head=head)


def _permuted(theirs: Tensor, rows: Rows, otherwise: Tensor) -> Tensor:
    """Put row `rows.of[v]` of `theirs` at v, and `otherwise[v]` where there is none."""
    known = torch.from_numpy(np.flatnonzero(rows.of >= 0))
    ours = otherwise.clone()
    ours[known] = theirs[torch.from_numpy(rows.of)[known]]
    return ours

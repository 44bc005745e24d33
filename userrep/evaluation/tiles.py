"""Histories through an encoder in tiles of one shape, since the last bits of a product depend on its shape."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from userrep.evaluation.ranking import ENCODE_TILE, Csr
from userrep.sequences.batches import gather

Read = Callable[[Tensor], Tensor]  # item ids (B, T) to a vector each (B, W)


def tiles(encode: Callable[[int, int], Tensor], count: int, tile: int = ENCODE_TILE) -> Iterator[Tensor]:
    """Encode cases 0..count by `encode(start, stop)` -> `(stop - start, W)`, in equal tiles; yield what each adds.

    The last tile reaches back over cases already encoded, so that all tiles have one shape and a user's vector depends
    on no batch size. The caller fixes the other dimensions too: one history length for all.
    """
    if count <= tile:
        yield encode(0, count)
        return
    for start in range(0, count - tile + 1, tile):
        yield encode(start, start + tile)
    left = count % tile
    if left:
        yield encode(count - tile, count)[tile - left :]


def read_in_tiles(read: Read, histories: Csr, length: int, device: torch.device) -> Iterator[Tensor]:
    """Read a vector from the newest `length` items of each history; yield tile after tile, `(tile, W)`."""

    def encode(start: int, stop: int) -> Tensor:
        items = gather(histories.items, histories.starts[start:stop], histories.ends[start:stop], length)
        return read(torch.from_numpy(items).to(device))

    return tiles(encode, len(histories.ends))


def read_histories(read: Read, histories: Csr, length: int, device: torch.device) -> Tensor:
    """Read a vector from the newest `length` items of each history: `(N, W)`."""
    parts = list(read_in_tiles(read, histories, length, device))
    return parts[0] if len(parts) == 1 else torch.cat(parts)

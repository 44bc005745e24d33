"""Histories through an encoder, in tiles of one shape."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from userrep.evaluation.ranking import Csr, encoded_tiles
from userrep.sequences.batches import gather

Read = Callable[[Tensor], Tensor]  # item ids (B, T) to a vector each (B, W)


def read_in_tiles(read: Read, histories: Csr, length: int, device: torch.device) -> Iterator[Tensor]:
    """Read a vector from the newest `length` items of each history; yield tile after tile, `(tile, W)`."""

    def encode(start: int, stop: int) -> Tensor:
        items = gather(histories.items, histories.starts[start:stop], histories.ends[start:stop], length)
        return read(torch.from_numpy(items).to(device))

    return encoded_tiles(encode, len(histories.ends))


def read_histories(read: Read, histories: Csr, length: int, device: torch.device) -> Tensor:
    """Read a vector from the newest `length` items of each history: `(N, W)`."""
    return torch.cat(list(read_in_tiles(read, histories, length, device)))

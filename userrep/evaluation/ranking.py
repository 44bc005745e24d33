"""Ranks over a whole vocabulary: scores above the target's are counted in tiles, never held as `(B, V)`.

A matrix product's last bits depend on its shape, so scores are always made in tiles of one fixed shape,
whatever the caller asks for: the counts are bit-equal for any batch and any tile. The target's score is read
from the same kind of tile as its competitors'; computed apart, as `(user * item).sum()`, it would differ in
the last bit and an equal item would outrank it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from userrep.errors import DivergedError
from userrep.models.rows import rows_between
from userrep.sequences.vocab import RESERVED

ENCODE_TILE = 64  # users that go through an encoder together
USER_TILE, ITEM_TILE = 512, 2048  # scores counted at a time: 4 MiB, few steps for each
PRODUCTS = {"cpu": (128, 1024)}  # the one shape of a score product on a device: few users are padded to no more
ELSEWHERE = (256, 4096)
REMEDY = "train again with a lower trainer.lr"

Block = Callable[[int, int], Tensor]


class Scorer(Protocol):
    """Scores of users for items, made block by block.

    `tile` (users, items) is the granularity of blocks: (1, 1) where scores do not depend on how they are cut.
    """

    tile: tuple[int, int]
    device: torch.device

    def block(self, rows: np.ndarray) -> Block:
        """Return the function that scores users `rows (u,)` for items `[lo, hi)`.

        It gives `(u, hi - lo)` fp32, which the caller may overwrite and the next call does.
        """
        ...


@dataclass(frozen=True)
class Csr:
    """Histories: row n's is `items[starts[n]:ends[n]]`, flat int32 items and absolute bounds `(N,)`."""

    items: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    def pairs(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the index within `rows` and the item of every event in the histories of `rows`."""
        starts, lengths = self.starts[rows], self.ends[rows] - self.starts[rows]
        owner = np.repeat(np.arange(len(rows)), lengths)
        begun = np.cumsum(lengths) - lengths
        return owner, self.items[np.arange(len(owner)) + np.repeat(starts - begun, lengths)]


class Counts(NamedTuple):
    """Competitors above and equal to each target, `(N,)` int64, among all items and sampled negatives."""

    greater: np.ndarray
    ties: np.ndarray
    sampled_greater: np.ndarray | None = None
    sampled_ties: np.ndarray | None = None


class DotScorer:
    """Score by dot product: users `(N, D)` with an item table `(V, D)`, plus an item bias `(V,)`, in fp32.

    Raises DivergedError where a vector is not finite, since a target scored NaN would seem to rank first.
    """

    def __init__(self, users: Tensor, table: Tensor, bias: Tensor | None = None) -> None:
        check_finite("user vectors", users)
        check_finite("item vectors", table)
        self.users, self.table, self.bias = users.detach(), table, None
        if bias is not None:
            check_finite("item biases", bias)
            self.bias = bias.detach()
        self.device = table.device
        self.tile = PRODUCTS.get(self.device.type, ELSEWHERE)
        self.scores = torch.empty(0, 0)

    def block(self, rows: np.ndarray) -> Block:
        high, wide = self.tile
        chosen = self.users[torch.from_numpy(rows).to(self.device)].float()
        users = _padded(chosen, _round_up(len(rows), high))  # (a multiple of `high`, D)

        def scores(lo: int, hi: int) -> Tensor:
            width = _round_up(hi - lo, wide)
            if self.scores.shape != (len(users), width):
                self.scores = torch.empty(len(users), width, device=self.device)
            for left in range(lo, hi, wide):
                vectors = rows_between(self.table, left, left + wide).detach().float()
                items = _padded(vectors, wide)  # (wide, D)
                for top in range(0, len(users), high):
                    part = self.scores[top : top + high, left - lo : left - lo + wide]
                    torch.mm(users[top : top + high], items.t(), out=part)
            found = self.scores[: len(rows), : hi - lo]
            return found if self.bias is None else found.add_(self.bias[lo:hi].float())

        return scores


def _round_up(asked: int, step: int) -> int:
    return -(-asked // step) * step


def _padded(tensor: Tensor, length: int) -> Tensor:
    missing = length - len(tensor)
    return torch.nn.functional.pad(tensor, (0, 0, 0, missing)) if missing else tensor


def check_finite(name: str, tensor: Tensor, so: str = "there is nothing to rank by") -> None:
    """Raise DivergedError, which says what follows, where a number is NaN or infinite."""
    if tensor.numel() == 0:
        return
    low, high = tensor.aminmax()  # NaN goes through; no mask of the table's size
    if not (torch.isfinite(low) and torch.isfinite(high)):
        raise DivergedError(f"{name} are not finite: {so}", REMEDY)


def encode_in_tiles(encode: Callable[[int, int], Tensor], count: int, tile: int = ENCODE_TILE) -> Tensor:
    """Encode cases 0..count to `(count, D)` by `encode(start, stop)` -> `(stop - start, D)`, in equal tiles."""
    return torch.cat(list(encoded_tiles(encode, count, tile)))


def encoded_tiles(encode: Callable[[int, int], Tensor], count: int, tile: int = ENCODE_TILE) -> Iterator[Tensor]:
    """Yield what each tile adds to the encoded cases.

    The last tile reaches back over cases already encoded, so that all tiles have one shape and a user's
    vector depends on no batch size. The caller fixes the other dimensions too: one history length for all.
    """
    if count <= tile:
        yield encode(0, count)
        return
    for start in range(0, count - tile + 1, tile):
        yield encode(start, start + tile)
    left = count % tile
    if left:
        yield encode(count - tile, count)[tile - left :]


def count_above(
    scorer: Scorer,
    targets: np.ndarray,
    history: Csr | None,
    vocab_size: int,
    first: int = RESERVED,
    tile_users: int = USER_TILE,
    tile_items: int = ITEM_TILE,
) -> tuple[np.ndarray, np.ndarray]:
    """Count the items scored above and equal to each target `(N,)`: two `(N,)` int64.

    Candidates are the ids from `first` on, less the target itself (by id) and the items of its history, each
    once; a target that its history holds stays a target.
    """
    counts = count_competitors(scorer, targets, history, vocab_size, None, first, tile_users, tile_items)
    return counts.greater, counts.ties


@torch.no_grad()
def count_competitors(
    scorer: Scorer,
    targets: np.ndarray,
    history: Csr | None,
    vocab_size: int,
    negatives: np.ndarray | None = None,
    first: int = RESERVED,
    tile_users: int = USER_TILE,
    tile_items: int = ITEM_TILE,
) -> Counts:
    """Count as `count_above` and, in the same pass, among `negatives (N, S)`, histories or not."""
    height, width = _round_up(tile_users, scorer.tile[0]), _round_up(tile_items, scorer.tile[1])
    counts = np.zeros((4, len(targets)), dtype=np.int64)
    order = np.argsort(targets, kind="stable")  # the targets of a block then lie in few tiles
    with exact_products(scorer.device):
        for start in range(0, len(targets), height):
            rows = order[start : start + height]
            block = _Block(scorer, rows, targets[rows], vocab_size, width)
            owner, items = (np.empty(0, np.int64),) * 2 if history is None else history.pairs(rows)
            sampled = None if negatives is None else negatives[rows]
            counts[:, rows] = block.count(owner, items, first, sampled)
    return Counts(counts[0], counts[1]) if negatives is None else Counts(*counts)


class _Block:
    """Some users against the vocabulary, tile after tile."""

    def __init__(self, scorer: Scorer, rows: np.ndarray, targets: np.ndarray, vocab_size: int, width: int) -> None:
        self.scorer, self.rows, self.device = scorer, rows, scorer.device
        self.scores = scorer.block(rows)
        self.targets, self.vocab_size, self.width = targets, vocab_size, width

    def count(self, owner: np.ndarray, items: np.ndarray, first: int, sampled: np.ndarray | None) -> np.ndarray:
        """Return greater, ties and the same among `sampled (u, S)`: `(4, u)`; `owner`, `items`: histories."""
        users = np.arange(len(self.targets))
        target = self._target_scores()[:, None]  # (u, 1)
        excluded = self._by_tile(np.concatenate([owner, users]), np.concatenate([items, self.targets]))
        drawn = self._by_tile(*_pairs(sampled))
        counts = torch.zeros(4, len(users), dtype=torch.int64, device=self.device)
        flags = torch.empty(len(users), min(self.width, self.vocab_size), device=self.device)
        for index, lo in enumerate(range(0, self.vocab_size, self.width)):
            scores = self.scores(lo, min(lo + self.width, self.vocab_size))  # (u, i)
            self._add_sampled(counts[2:], scores, target, *drawn[index], lo)
            outer, inner = excluded[index]
            scores[outer, inner - lo] = -torch.inf
            scores[:, : max(0, first - lo)] = -torch.inf
            counted = flags[:, : scores.shape[1]]
            counts[0] += torch.gt(scores, target, out=counted).sum(1).long()  # exact: fewer than 2^24 ones
            counts[1] += torch.eq(scores, target, out=counted).sum(1).long()
        return counts.cpu().numpy()

    def _target_scores(self) -> Tensor:
        """Read each target's score from the tile that holds it: `(u,)`.

        Where a product is of fewer users than the block, no more than those are multiplied again.
        """
        found = torch.empty(len(self.targets), device=self.device)
        together = self.scorer.tile[0] if self.scorer.tile[0] > 1 else len(self.rows)
        for start in range(0, len(self.rows), together):
            rows, targets = self.rows[start : start + together], self.targets[start : start + together]
            scores = self.scores if len(rows) == len(self.rows) else self.scorer.block(rows)
            tiles = targets // self.width
            for tile in np.unique(tiles):
                chosen = np.flatnonzero(tiles == tile)
                lo, index = int(tile) * self.width, torch.from_numpy(chosen).to(self.device)
                columns = torch.from_numpy(targets[chosen] - lo).to(self.device)
                made = scores(lo, min(lo + self.width, self.vocab_size))
                found[start + index] = made[index, columns]
        if not torch.isfinite(found).all():
            raise DivergedError("a target's score is not finite: it has no rank", REMEDY)
        return found

    def _by_tile(self, owner: np.ndarray, items: np.ndarray) -> list[tuple[Tensor, Tensor]]:
        """Divide pairs (user in the block, item) by the tile that holds the item."""
        tiles = (items // self.width).astype(np.uint16 if self.vocab_size // self.width < 2**16 else np.int64)
        order = np.argsort(tiles, kind="stable")  # a radix sort for 16 bits
        cuts = np.searchsorted(tiles[order], np.arange(1, -(-self.vocab_size // self.width)))
        outer = torch.from_numpy(owner[order].astype(np.int64)).to(self.device)
        inner = torch.from_numpy(items[order].astype(np.int64)).to(self.device)
        bounds = [0, *cuts.tolist(), len(items)]
        return [(outer[a:b], inner[a:b]) for a, b in pairwise(bounds)]

    @staticmethod
    def _add_sampled(counts: Tensor, scores: Tensor, target: Tensor, owner: Tensor, items: Tensor, lo: int) -> None:
        drawn, own = scores[owner, items - lo], target[owner, 0]
        counts[0].index_add_(0, owner, drawn.gt(own).long())
        counts[1].index_add_(0, owner, drawn.eq(own).long())


def _pairs(drawn: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    if drawn is None:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.repeat(np.arange(len(drawn)), drawn.shape[1]), drawn.ravel()


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Keep matrix products in fp32 proper: no TF32, no bf16, no autocast in a reported number."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)

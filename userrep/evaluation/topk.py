"""The k best items of each user, exact, tile by tile: never a score for every user and item at once.

Equal scores are ordered by id, so that the list does not depend on tiles, and a smaller k is a beginning of a larger.
"""

import numpy as np
import torch
from torch import Tensor

from userrep.evaluation.ranking import USER_TILE, Csr, Scorer, exact_products
from userrep.sequences.vocab import PAD, RESERVED

LOW = 2**32 - 1
ITEM_TILE = 4096  # items looked at together: with fewer the best so far are sorted anew too often


@torch.no_grad()
def top_items(
    scorer: Scorer, users: int, k: int, seen: Csr | None, vocab_size: int, first: int = RESERVED
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids `(N, k)` int64 and scores `(N, k)` fp32 of each user's best items, best first.

    Candidates are the ids from `first` on, less those of the user's `seen`. Where fewer than k are left, PAD and -inf
    stand in their place.
    """
    ids, scores = np.full((users, k), PAD, dtype=np.int64), np.full((users, k), -np.inf, dtype=np.float32)
    height, width = max(USER_TILE, scorer.tile[0]), max(ITEM_TILE, scorer.tile[1])
    with exact_products(scorer.device):
        for start in range(0, users, height):
            rows = np.arange(start, min(start + height, users))
            best = _best(scorer, rows, k, seen, vocab_size, first, width)
            found, values = _unpacked(best)
            real = np.isfinite(values)
            ids[rows, : found.shape[1]] = np.where(real, found, PAD)
            scores[rows, : found.shape[1]] = np.where(real, values, -np.inf)
    return ids, scores


def _best(
    scorer: Scorer, rows: np.ndarray, k: int, seen: Csr | None, vocab_size: int, first: int, width: int
) -> Tensor:
    """Return the packed k best of users `rows (u,)`, best first: `(u, <= k)` int64."""
    block, device = scorer.block(rows), scorer.device
    owner, items = (np.empty(0, np.int64),) * 2 if seen is None else seen.pairs(rows)
    order = np.argsort(items, kind="stable")
    owner, items = owner[order], items[order].astype(np.int64)
    best = torch.empty(len(rows), 0, dtype=torch.int64, device=device)
    worst = torch.full((len(rows), 1), -torch.inf, device=device)
    for lo in range(0, vocab_size, width):
        hi = min(lo + width, vocab_size)
        scores = block(lo, hi)  # (u, i)
        left, right = np.searchsorted(items, (lo, hi))
        outer, inner = (torch.from_numpy(part[left:right]).to(device) for part in (owner, items - lo))
        scores[outer, inner] = -torch.inf
        scores[:, : max(0, first - lo)] = -torch.inf
        columns = (scores > worst).any(dim=0).nonzero().squeeze(1)  # an equal of a later id comes after k others
        if len(columns) == 0:
            continue
        packed = torch.cat([best, _packed(scores[:, columns], columns + lo)], dim=1)
        best = packed.topk(min(k, packed.shape[1]), dim=1).values
        if best.shape[1] == k:
            worst = _score(best[:, -1:])
    return best


def _packed(scores: Tensor, ids: Tensor) -> Tensor:
    """Pack scores `(u, i)` fp32 and ids `(i,)` into one whole number each: more is better, and a lower id is more."""
    bits = (scores + 0.0).view(torch.int32)  # + 0.0: -0 is 0
    ordered = torch.where(bits >= 0, bits, bits ^ 0x7FFFFFFF).long()
    return (ordered << 32) + (LOW - ids)


def _score(packed: Tensor) -> Tensor:
    ordered = (packed >> 32).int()
    return torch.where(ordered >= 0, ordered, ordered ^ 0x7FFFFFFF).view(torch.float32)


def _unpacked(packed: Tensor) -> tuple[np.ndarray, np.ndarray]:
    return (LOW - (packed & LOW)).cpu().numpy(), _score(packed).cpu().numpy()

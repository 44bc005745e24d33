"""Seeds: every random stream of a run is derived from its one seed and the place where it is used."""

import zlib

import numpy as np
import torch


def stream(seed: int, *place: str | int) -> np.random.Generator:
    """Return the generator for a place such as `("order", phase, epoch)`; the same place draws the same again."""
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in place]
    return np.random.default_rng(np.random.SeedSequence([seed, *words]))


def generator(seed: int, *place: str | int) -> torch.Generator:
    """Return a CPU generator of torch for a place."""
    return torch.Generator().manual_seed(int(stream(seed, *place).integers(2**62)))


def seed_everything(seed: int) -> None:
    """Seed torch's global stream, which initialisation and dropout draw from; called by stages only."""
    torch.manual_seed(int(stream(seed, "global").integers(2**62)))

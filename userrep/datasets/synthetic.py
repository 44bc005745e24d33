"""A generated data set whose users have classes that show in what they choose and in which order."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from userrep.datasets.dataset import Dataset, Events
from userrep.errors import ConfigError

GENDERS = ("F", "M")
AGES = ("18", "25", "35", "45")
CLASSES = len(GENDERS) * len(AGES)
START = 946_684_800  # seconds: 2000-01-01


@dataclass(kw_only=True)
class Synthetic(Dataset):
    """Users of two genders and four ages; nothing is downloaded, and the seed decides everything.

    Items fall into clusters. Gender decides which item follows which (with probability `order`) and age which
    clusters a free choice comes from (with probability `taste`), so that both can be told from a sequence and
    the next item can be told from the one before. A share `unlabelled` of the users has no labels, a share
    `tied` of the events the time of the one before.

    With `target_items` there is a second domain: a share `overlap` of the users meets 1 to `target_events` of its
    items, between their other events, from the part of it that goes with their gender and age; gender is also what
    they rate high. Its draws are its own, so that it changes nothing in the main domain.
    """

    n_users: int = 300
    n_items: int = 60
    min_length: int = 12
    max_length: int = 40
    order: float = 0.5
    taste: float = 0.8
    tied: float = 0.2
    unlabelled: float = 0.0
    target_items: int = 0
    target_events: int = 4
    overlap: float = 0.7
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_users < 1 or self.n_items < 2 * len(AGES) or not 1 <= self.min_length <= self.max_length:
            raise ConfigError(
                f"no data of {self.n_users} users, {self.n_items} items, {self.min_length} to {self.max_length} events",
                f"give at least 1 user, {2 * len(AGES)} items, and 1 <= min_length <= max_length",
            )
        if 0 < self.target_items < CLASSES or self.target_events < 1 or not 0 <= self.overlap <= 1:
            raise ConfigError(
                f"no target domain of {self.target_items} items, 1 to {self.target_events} events a user",
                f"give 0 or at least {CLASSES} items, at least 1 event, and an overlap in [0, 1]",
            )

    def raw_files(self, raw_dir: Path) -> list[Path]:
        return []

    def events(self, raw_dir: Path) -> Events:
        rng = np.random.default_rng(self.seed)
        gender = rng.integers(len(GENDERS), size=self.n_users)
        age = rng.integers(len(AGES), size=self.n_users)
        lengths = rng.integers(self.min_length, self.max_length + 1, size=self.n_users)
        items = self._walk(rng, gender, age)  # (U, L)
        gaps = np.where(rng.random(items.shape) < self.tied, 0, rng.integers(1, 86_400, size=items.shape))
        times = START + rng.integers(0, 10_000_000, size=(self.n_users, 1)) + np.cumsum(gaps, axis=1)
        ratings = np.clip(3 + (items + gender[:, None]) % 3, 1, 5)
        real = np.arange(self.max_length) < lengths[:, None]
        users = np.char.mod("u%05d", np.arange(self.n_users))
        frame = pl.DataFrame(
            {
                "user": np.repeat(users, lengths),
                "item": np.char.mod("i%05d", items[real]),
                "time": times[real],
                "rating": ratings[real].astype(np.float32),
            }
        ).with_columns(pl.lit("main").alias("domain"))
        if self.target_items:
            frame = pl.concat([frame, self._target(users, gender, age, times, lengths)])
        frame = frame.with_columns(pl.int_range(pl.len()).alias("row"))
        return Events(frame.lazy(), self._users(rng, users, gender, age), self._texts())

    def _target(
        self, users: np.ndarray, gender: np.ndarray, age: np.ndarray, times: np.ndarray, lengths: np.ndarray
    ) -> pl.DataFrame:
        """Draw the events of the target domain; `times (U, L)` and `lengths (U,)` are of the main one."""
        rng = np.random.default_rng([self.seed, 1])
        counts = rng.integers(1, self.target_events + 1, self.n_users) * (rng.random(self.n_users) < self.overlap)
        owner = np.repeat(np.arange(self.n_users), counts)
        own = gender * len(AGES) + age
        part = np.where(rng.random(len(owner)) < self.taste, own[owner], rng.integers(CLASSES, size=len(owner)))
        size = self.target_items // CLASSES
        items = part * size + (rng.random(len(owner)) ** 2 * size).astype(np.int64)
        after = times[owner, (rng.random(len(owner)) * lengths[owner]).astype(np.int64)]
        return pl.DataFrame(
            {
                "user": users[owner],
                "item": np.char.mod("t%05d", items),
                "time": after + rng.integers(1, 3_600, size=len(owner)),
                "rating": (3 + (items + gender[owner]) % 3).astype(np.float32),
            }
        ).with_columns(pl.lit("target").alias("domain"))

    def _walk(self, rng: np.random.Generator, gender: np.ndarray, age: np.ndarray) -> np.ndarray:
        """Choose all users' items step by step: (U, max_length)."""
        follows = np.stack([_cycle(rng, self.n_items) for _ in GENDERS])  # (2, items)
        chosen = np.empty((self.n_users, self.max_length), dtype=np.int64)
        chosen[:, 0] = self._free_choice(rng, age)
        for step in range(1, self.max_length):
            ordered = rng.random(self.n_users) < self.order
            chosen[:, step] = np.where(ordered, follows[gender, chosen[:, step - 1]], self._free_choice(rng, age))
        return chosen

    def _free_choice(self, rng: np.random.Generator, age: np.ndarray) -> np.ndarray:
        """Choose an item a user, favouring few items of each cluster: (U,)."""
        cluster = np.where(rng.random(self.n_users) < self.taste, age, rng.integers(len(AGES), size=self.n_users))
        size = self.n_items // len(AGES)
        within = np.minimum((rng.random(self.n_users) ** 2 * size).astype(np.int64), size - 1)
        return cluster * size + within

    def _users(self, rng: np.random.Generator, users: np.ndarray, gender: np.ndarray, age: np.ndarray) -> pl.DataFrame:
        known = rng.random(self.n_users) >= self.unlabelled
        frame = pl.DataFrame({"user": users, "gender": np.array(GENDERS)[gender], "age": np.array(AGES)[age]})
        return frame.filter(pl.Series(known))

    def _texts(self) -> pl.DataFrame:
        size = self.n_items // len(AGES)
        text = [f"item {index} of cluster {min(index // size, len(AGES) - 1)}" for index in range(self.n_items)]
        return pl.DataFrame({"item": [f"i{index:05d}" for index in range(self.n_items)], "text": text})


def _cycle(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw who follows whom, as one cycle through all items, so that no item follows itself."""
    order = rng.permutation(count)
    follows = np.empty(count, dtype=np.int64)
    follows[order] = np.roll(order, -1)
    return follows

"""The data of a benchmark: generated and prepared once a size, shared by its cases and their child processes."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.events import write_events, write_users
from userrep.build import build
from userrep.config import compose
from userrep.datasets.table import Table
from userrep.sequences.prepare import prepare
from userrep.sequences.store import Prepared

NOWHERE = Path("nowhere")  # a table reads its own path, not the raw folder


@dataclass(frozen=True)
class Deep:
    """Steps of a deep network: its width and rates, and (users, length) of a padded and of an unpadded batch."""

    width: int
    dilations: tuple[int, ...]
    padded: tuple[int, int]
    full: tuple[int, int]


@dataclass(frozen=True)
class Chain:
    """Training until `goal` NDCG@20 on a chain of items, for the case that takes long."""

    users: int
    length: int
    width: int
    goal: float
    most: int  # steps


@dataclass(frozen=True)
class Size:
    """How much data there is, and how much of it a case takes.

    `step` is (users, length) of an unpadded training batch, `padded` of one with about 45 % padding, `large` of one
    that takes the plain way's memory, or None; `ranked` users are evaluated in pairs, `ranked_alone` by our way only.
    """

    items: int
    users: int
    events: int
    step: tuple[int, int]
    padded: tuple[int, int] | None
    large: tuple[int, int] | None
    ranked: int
    ranked_alone: int | None = None
    memory: bool = True  # whether peaks are measured too
    text_ids: bool = True
    width: int = 64
    history: int = 50
    batch_sizes: tuple[int, ...] = (32, 256)
    negatives: int = 1024
    protected: tuple[tuple[str, int], ...] = ()  # networks and widths whose steps of conure are measured
    routed: tuple[int, int, int] | None = None  # users, length and width where users take routes of their own
    deep: Deep | None = None
    patched: tuple[int, int] | None = None  # users and length of a batch of a network with patches
    headed: bool = False  # whether epochs of a head alone are measured
    prepared_only: bool = False
    chain: Chain | None = None


PROTECTED = (("NextItNet", 64), ("NextItNet", 256), ("SASRec", 64))
DEEP = Deep(128, (1, 2, 4, 8) * 4, (256, 20), (32, 20))  # sixteen blocks, thirty-two convolutions
SHALLOW = Deep(8, (1, 2), (8, 8), (4, 8))
FULL = (
    Size(
        3_700, 6_000, 1_000_000, (64, 50), (128, 50), None, 2_000, None, False, False,
        protected=PROTECTED, routed=(128, 100, 128), patched=(64, 50), headed=True,
    ),
    Size(100_000, 20_000, 1_000_000, (32, 50), (64, 50), None, 512, batch_sizes=(256,), deep=DEEP),
    Size(1_000_000, 20_000, 1_500_000, (8, 25), None, (64, 50), 128, 2_048, batch_sizes=(256,)),
)  # fmt: skip
QUICK = (
    Size(
        60, 50, 1_500, (4, 8), (8, 8), None, 20, None, False, False, 8, 8, (8,), 16, (("NextItNet", 8),), (6, 8, 8),
        patched=(4, 8), headed=True,
    ),
    Size(300, 60, 2_000, (4, 8), (8, 8), (8, 8), 20, 20, True, True, 8, 8, (8,), 16, deep=SHALLOW),
    Size(40, 30, 500, (4, 8), None, None, 0, negatives=16, chain=Chain(16, 8, 8, 0.2, 400)),
)  # fmt: skip
LONG = (  # each takes many minutes: asked for by --long
    Size(50_000, 20_000, 400_000, (32, 20), None, None, 0, chain=Chain(64, 20, 64, 0.5, 6_000), text_ids=False),
    Size(99_999, 400_000, 10_000_000, (0, 0), None, None, 0, text_ids=False, prepared_only=True),
    Size(100_001, 400_000, 10_000_000, (0, 0), None, None, 0, prepared_only=True),
)


@dataclass(frozen=True)
class Data:
    """The files of one size."""

    size: Size
    folder: Path

    @property
    def csv(self) -> Path:
        """The raw events."""
        return self.folder / "events.csv"

    @property
    def labels(self) -> Path:
        """A label of each user."""
        return self.folder / "users.csv"

    @property
    def store(self) -> Path:
        """The prepared folder."""
        return self.folder / "prepared"

    @cached_property
    def table(self) -> Table:
        """The data set as a user would name it."""
        overrides = ["dataset=table", f"dataset.path={self.csv}", "dataset.name=bench"]
        if not self.size.prepared_only:
            overrides += [f"dataset.users_path={self.labels}", "dataset.labels=[kind]"]
        table: Table = build(compose("preprocess", overrides)["dataset"])
        return table

    @cached_property
    def prepared(self) -> Prepared:
        """The opened data set."""
        return Prepared(self.store)

    def make(self) -> None:
        """Write and prepare the events where that has not been done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.csv.exists():
            write_events(self.csv, self.size.users, self.size.items, self.size.events, self.size.text_ids)
            write_users(self.labels, self.size.users, self.size.text_ids)
        if self.size.prepared_only:
            return
        if not (self.store / "meta.json").exists():
            prepare(self.table, {"name": "bench"}, NOWHERE, self.store)

    def lists(self, longer_than: int = 0, most: int | None = None) -> list[list[int]]:
        """Return the sequences of users with more than `longer_than` events as lists, the first `most` of them."""
        sequences = self.prepared.sequences()
        bounds = zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True)
        chosen = [(begin, end) for begin, end in bounds if end - begin > longer_than][:most]
        return [sequences.items[begin:end].tolist() for begin, end in chosen]

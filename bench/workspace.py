"""The data of a benchmark: generated and prepared once a size, shared by its cases and their child processes."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.events import write_events
from userrep.build import build
from userrep.config import compose
from userrep.datasets.table import Table
from userrep.sequences.prepare import prepare
from userrep.sequences.store import Prepared

NOWHERE = Path("nowhere")  # a table reads its own path, not the raw folder


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


PROTECTED = (("NextItNet", 64), ("NextItNet", 256), ("SASRec", 64))
FULL = (
    Size(
        3_700, 6_000, 1_000_000, (64, 50), (128, 50), None, 2_000, None, False, False,
        protected=PROTECTED, routed=(128, 100, 128),
    ),
    Size(100_000, 20_000, 1_000_000, (32, 50), (64, 50), None, 512, batch_sizes=(256,)),
    Size(1_000_000, 20_000, 1_500_000, (8, 25), None, (64, 50), 128, 2_048, batch_sizes=(256,)),
)  # fmt: skip
QUICK = (
    Size(60, 50, 1_500, (4, 8), (8, 8), None, 20, None, False, False, 8, 8, (8,), 16, (("NextItNet", 8),), (6, 8, 8)),
    Size(300, 60, 2_000, (4, 8), (8, 8), (8, 8), 20, 20, True, True, 8, 8, (8,), 16),
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
    def store(self) -> Path:
        """The prepared folder."""
        return self.folder / "prepared"

    @cached_property
    def table(self) -> Table:
        """The data set as a user would name it."""
        overrides = ["dataset=table", f"dataset.path={self.csv}", "dataset.name=bench"]
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
        if not (self.store / "meta.json").exists():
            prepare(self.table, {"name": "bench"}, NOWHERE, self.store)

    def lists(self, longer_than: int = 0, most: int | None = None) -> list[list[int]]:
        """Return the sequences of users with more than `longer_than` events as lists, the first `most` of them."""
        sequences = self.prepared.sequences()
        bounds = zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True)
        chosen = [(begin, end) for begin, end in bounds if end - begin > longer_than][:most]
        return [sequences.items[begin:end].tolist() for begin, end in chosen]

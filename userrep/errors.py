"""The errors a user can cause or must hear about, each with its exit code and a remedy."""

import signal
from collections.abc import Iterable
from typing import ClassVar


class UserRepError(Exception):
    """State what happened and what to do; the command line prints one line of each."""

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "error"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(UserRepError):
    """The command was given in a way that cannot work."""

    exit_code, kind = 2, "usage"


class ConfigError(UserRepError):
    """The configuration names something unknown or holds a value that cannot work."""

    exit_code, kind = 2, "config"


class DataError(UserRepError):
    """A file is missing, damaged, unreadable or cannot be written."""

    exit_code, kind = 3, "data"


class DivergedError(UserRepError):
    """Training produced a loss that is no number."""

    exit_code, kind = 4, "diverged"


class VerificationError(UserRepError):
    """A hash is not the one that was recorded."""

    exit_code, kind = 5, "verification"


class Interrupted(UserRepError):
    """A signal stopped the work; what was done so far is kept and the same command goes on."""

    exit_code, kind = 130, "interrupted"

    def __init__(self, signum: int = signal.SIGINT, hint: str = "") -> None:
        super().__init__(f"interrupted by {signal.Signals(signum).name}", hint or "run the same command again to go on")
        self.signum = signum
        self.exit_code = 128 + signum  # type: ignore[misc]  # 130 for SIGINT, 143 for SIGTERM


def suggest(wrong: str, choices: Iterable[str]) -> str:
    """Name the nearest choice and list all of them, as the hint of a failed lookup."""
    from difflib import get_close_matches

    known = sorted(choices)
    near = get_close_matches(wrong, known, n=1)
    listed = f"choose from: {', '.join(known)}" if known else "there are none"
    return f"did you mean {near[0]!r}? {listed}" if near else listed

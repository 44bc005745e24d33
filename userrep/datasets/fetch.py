"""Fetches one file over HTTP(S) into a .part file that a later attempt resumes.

The standard library does it: pooch checks and retries, but starts from byte zero each time and takes a web
page for an archive.
"""

import fcntl
import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from userrep import console, progress
from userrep.errors import DataError, UsageError
from userrep.files import explaining_write_errors

CHUNK = 1 << 16  # bytes
PAGE = 1 << 18  # bytes of a web page that are looked at
PAGE_SIGNS = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")
PASSING = {408, 425, 429}  # with every 5xx: answers that a second attempt may change


class Unavailable(DataError):
    """This source cannot give its file; the next one may."""


class _Broken(Exception):
    """This attempt failed; the next one may go on from where it stopped."""


class _NothingLeft(Exception):
    """The server has no byte after those that are here: they are all, or of another file."""

    def __init__(self, fault: str, span: str) -> None:
        super().__init__(fault)
        total = span.rpartition("/")[2]
        self.total = int(total) if total.isdigit() else None


class _Unreachable(_Broken):
    """There was no connection; worth another attempt only if there has been one before."""


def fetch(
    url: str,
    part: Path,
    size: int | None,
    *,
    attempts: int = 5,
    pause: float = 1.0,
    timeout: float = 10.0,
    explain: Callable[[str], Unavailable | None] = lambda page: None,
) -> None:
    """Bring `part` to exactly `size` bytes of `url`, going on from the bytes it holds already.

    Where `size` is None, the server says how many there are, or all that come until it closes are taken. A web page
    in place of a file is refused; `explain` may turn its text into a better error.

    A broken transfer is tried again after `pause`, 2 `pause`, 4 `pause` ... seconds; `attempts` failures in a
    row without a new byte are final. A host that cannot be reached at all fails at once. `timeout` (seconds)
    bounds the connection and every silence.

    Raises:
        Unavailable: the host or the file cannot be had, or it is a web page or of another size.
        DataError: `part` cannot be written.
        UsageError: another process is fetching it.
    """
    failures, reached, goal = 0, False, _Goal(size)
    with _alone(part) as out, progress.working(f"download {part.stem}", size, "B") as bar:
        if size is not None and out.tell() > size:
            _empty(out)
        bar.advance(out.tell())
        while not goal.reached(held := out.tell()):
            try:
                for gained in _transfer(url, out, held, goal, timeout, explain):
                    bar.advance(gained)
            except _NothingLeft as end:
                if goal.size is not None:
                    raise Unavailable(str(end)) from end
                if end.total == held:
                    goal.size = held
                else:
                    _empty(out)
            except _Broken as fault:
                reached = reached or not isinstance(fault, _Unreachable)
                failures = 1 if out.tell() > held else failures + 1
                if failures >= (attempts if reached else 1):
                    raise Unavailable(str(fault)) from fault
                delay = pause * 2 ** (failures - 1)
                console.note(f"{fault}; trying again in {delay:g} s from byte {out.tell():,}")
                time.sleep(delay)


@dataclass
class _Goal:
    """How many bytes the file has; None while nobody has said so."""

    size: int | None

    def reached(self, held: int) -> bool:
        return self.size is not None and held >= self.size


@contextmanager
def _alone(part: Path) -> Iterator[BinaryIO]:
    """Open `part` for appending, positioned at its end, as the only process that does so."""
    with explaining_write_errors(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "ab") as out:
            try:
                fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(f"another process is writing {part}", "wait until it ends") from error
            try:
                yield out
            finally:
                if not out.tell():  # nothing came: leave nothing
                    part.unlink()


def _empty(out: BinaryIO) -> None:
    out.seek(0)
    out.truncate()


def _transfer(
    url: str,
    out: BinaryIO,
    start: int,
    goal: _Goal,
    timeout: float,
    explain: Callable[[str], Unavailable | None],
) -> Iterator[int]:
    """Append the bytes of `url` from `start` to `out`; yield how many came (less than none: a restart)."""
    with _ask(url, start, timeout) as response:
        if response.status == 206 and _first_byte(response) != start:
            raise Unavailable(f"{_host(url)} answered with another range than it was asked for")
        resumed = response.status == 206
        head = _read(response, 512)
        _refuse_pages(url, response, head, explain, sniff=not resumed)
        announced = _announced(response)
        if goal.size is None and announced is not None:
            goal.size = announced + start if resumed else announced
        _refuse_other_sizes(url, announced, goal, start if resumed else 0)
        if start and not resumed:  # a server without ranges sends everything
            _empty(out)
            yield -start
        while head:
            out.write(head)
            out.flush()
            yield len(head)
            if goal.size is not None and out.tell() > goal.size:
                _empty(out)
                raise Unavailable(f"{_host(url)} sent more than the {goal.size:,} bytes expected")
            head = _read(response, CHUNK)
    if goal.size is None:
        goal.size = out.tell()
    if out.tell() < goal.size:
        raise _Broken(f"{_host(url)} closed the connection after {out.tell():,} of {goal.size:,} bytes")


def _ask(url: str, start: int, timeout: float) -> http.client.HTTPResponse:
    headers = {"User-Agent": "userrep", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    host = _host(url)
    try:
        response: http.client.HTTPResponse = urlopen(Request(url, headers=headers), timeout=timeout)
        return response
    except HTTPError as error:
        error.close()
        fault = f"{host} answered {error.code} {error.reason}"
        if error.code == 416 and start:
            raise _NothingLeft(fault, error.headers.get("Content-Range", "")) from error
        passing = error.code in PASSING or error.code >= 500
        raise (_Broken(fault) if passing else Unavailable(fault)) from error
    except URLError as error:
        reason = getattr(error.reason, "strerror", None) or error.reason
        raise _Unreachable(f"cannot reach {host} ({reason})") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(f"{host} did not answer ({str(error) or type(error).__name__})") from error


def _read(response: http.client.HTTPResponse, most: int) -> bytes:
    try:
        return response.read1(most)
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(f"the transfer broke off ({str(error) or type(error).__name__})") from error


def _refuse_pages(
    url: str,
    response: http.client.HTTPResponse,
    head: bytes,
    explain: Callable[[str], Unavailable | None],
    *,
    sniff: bool,
) -> None:
    page = response.headers.get_content_type() in ("text/html", "application/xhtml+xml")
    if page or (sniff and head.lstrip().lower().startswith(PAGE_SIGNS)):
        text = (head + _page(response)).decode(errors="replace")
        raise explain(text) or Unavailable(
            f"{_host(url)} sent a web page instead of the archive (a login, proxy or virus-scan page?)"
        )


def _page(response: http.client.HTTPResponse) -> bytes:
    """Read the rest of a page, as far as a page goes."""
    text = b""
    while len(text) < PAGE and (more := _read(response, CHUNK)):
        text += more
    return text


def _announced(response: http.client.HTTPResponse) -> int | None:
    said = response.headers.get("Content-Length", "")
    return int(said) if said.isdigit() else None


def _refuse_other_sizes(url: str, announced: int | None, goal: _Goal, start: int) -> None:
    if announced is not None and goal.size is not None and announced != goal.size - start:
        raise Unavailable(
            f"{_host(url)} offers {announced:,} bytes, not the {goal.size - start:,} expected: it has changed"
        )


def _first_byte(response: http.client.HTTPResponse) -> int:
    span = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(span) if span.isdigit() else -1


def _host(url: str) -> str:
    return urlsplit(url).netloc

"""Fetches one file over HTTP(S) into a .part file that a later attempt resumes.

The standard library does it: pooch checks and retries, but starts from byte zero each time and takes a web
page for an archive.
"""

import fcntl
import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from userrep import console
from userrep.errors import DataError, UsageError
from userrep.files import explaining_write_errors

CHUNK = 1 << 16  # bytes
PAGE_SIGNS = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")
PASSING = {408, 425, 429}  # with every 5xx: answers that a second attempt may change


class Unavailable(DataError):
    """This source cannot give its file; the next one may."""


class _Broken(Exception):
    """This attempt failed; the next one may go on from where it stopped."""


class _Unreachable(_Broken):
    """There was no connection; worth another attempt only if there has been one before."""


def fetch(
    url: str, part: Path, size: int, *, attempts: int = 5, pause: float = 1.0, timeout: float = 10.0
) -> None:
    """Bring `part` to exactly `size` bytes of `url`, going on from the bytes it holds already.

    A broken transfer is tried again after `pause`, 2 `pause`, 4 `pause` ... seconds; `attempts` failures in a
    row without a new byte are final. A host that cannot be reached at all fails at once. `timeout` (seconds)
    bounds the connection and every silence.

    Raises:
        Unavailable: the host or the file cannot be had, or it is a web page or of another size.
        DataError: `part` cannot be written.
        UsageError: another process is fetching it.
    """
    failures, reached = 0, False
    with _alone(part) as out, console.progress(f"download {part.stem}", size, "B") as bar:
        if out.tell() > size:
            _empty(out)
        bar.advance(out.tell())
        while (held := out.tell()) < size:
            try:
                for gained in _transfer(url, out, held, size, timeout):
                    bar.advance(gained)
            except _Broken as fault:
                reached = reached or not isinstance(fault, _Unreachable)
                failures = 1 if out.tell() > held else failures + 1
                if failures >= (attempts if reached else 1):
                    raise Unavailable(str(fault)) from fault
                delay = pause * 2 ** (failures - 1)
                console.note(f"{fault}; trying again in {delay:g} s from byte {out.tell():,}")
                time.sleep(delay)


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


def _transfer(url: str, out: BinaryIO, start: int, size: int, timeout: float) -> Iterator[int]:
    """Append the bytes of `url` from `start` to `out`; yield how many came (less than none: a restart)."""
    with _ask(url, start, timeout) as response:
        if response.status == 206 and _first_byte(response) != start:
            raise Unavailable(f"{_host(url)} answered with another range than it was asked for")
        resumed = response.status == 206
        head = _read(response, 512)
        _refuse_other_files(url, response, head, size - start if resumed else size, sniff=not resumed)
        if start and not resumed:  # a server without ranges sends everything
            _empty(out)
            yield -start
        while head:
            out.write(head)
            out.flush()
            yield len(head)
            if out.tell() > size:
                _empty(out)
                raise Unavailable(f"{_host(url)} sent more than the {size:,} bytes expected")
            head = _read(response, CHUNK)
    if out.tell() < size:
        raise _Broken(f"{_host(url)} closed the connection after {out.tell():,} of {size:,} bytes")


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


def _refuse_other_files(
    url: str, response: http.client.HTTPResponse, head: bytes, expected: int, *, sniff: bool
) -> None:
    page = response.headers.get_content_type() in ("text/html", "application/xhtml+xml")
    if page or (sniff and head.lstrip().lower().startswith(PAGE_SIGNS)):
        raise Unavailable(
            f"{_host(url)} sent a web page instead of the archive (a login, proxy or virus-scan page?)"
        )
    announced = response.headers.get("Content-Length", "")
    if announced.isdigit() and int(announced) != expected:
        raise Unavailable(
            f"{_host(url)} offers {int(announced):,} bytes, not the {expected:,} expected: it has changed"
        )


def _first_byte(response: http.client.HTTPResponse) -> int:
    span = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(span) if span.isdigit() else -1


def _host(url: str) -> str:
    return urlsplit(url).netloc

"""Fetching over a connection that fails."""

import fcntl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from faulty_site import Site, answers, resets_after, sends, stays_silent, stops_after

from userrep.datasets.fetch import Unavailable, fetch
from userrep.errors import DataError, UsageError

HTML = b"<!DOCTYPE html><html><body>Google Drive cannot scan this file for viruses</body></html>"


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "toy.zip.part"


@pytest.fixture(autouse=True)
def large_body(site: Site) -> None:
    site.body = bytes(range(251)) * 1000


def get(site: Site, part: Path, attempts: int = 3, timeout: float = 5.0) -> bytes:
    fetch(site.url, part, len(site.body), attempts=attempts, pause=0.01, timeout=timeout)
    return part.read_bytes()


def test_a_file_arrives_whole(site: Site, part: Path) -> None:
    assert get(site, part) == site.body
    assert site.asked == [None]


@pytest.mark.parametrize("breaks_off", [stops_after, resets_after])
def test_a_broken_transfer_goes_on_where_it_stopped(site: Site, part: Path, breaks_off) -> None:
    site.faults = [breaks_off(100_000), stops_after(50_000)]
    assert get(site, part) == site.body
    assert site.asked[0] is None
    assert all(asked and asked.startswith("bytes=") and asked != "bytes=0-" for asked in site.asked[1:])
    assert len(site.asked) == 3


def test_bytes_of_an_earlier_run_are_not_asked_for_again(site: Site, part: Path) -> None:
    part.parent.mkdir()
    part.write_bytes(site.body[:200_000])
    assert get(site, part) == site.body
    assert site.asked == ["bytes=200000-"]


def test_a_server_without_ranges_is_read_from_the_start(site: Site, part: Path) -> None:
    site.ranges = False
    site.faults = [stops_after(100_000)]
    assert get(site, part) == site.body
    assert site.asked == [None, "bytes=100000-"]


def test_a_complete_file_is_not_asked_for(site: Site, part: Path) -> None:
    part.parent.mkdir()
    part.write_bytes(site.body)
    assert get(site, part) == site.body
    assert site.asked == []


def test_an_overlong_file_is_fetched_anew(site: Site, part: Path) -> None:
    part.parent.mkdir()
    part.write_bytes(site.body + b"more")
    assert get(site, part) == site.body


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_server_error_is_tried_again(site: Site, part: Path, status: int) -> None:
    site.faults = [answers(status), answers(status)]
    assert get(site, part) == site.body


def test_a_lasting_server_error_is_given_up(site: Site, part: Path) -> None:
    site.faults = [answers(500)] * 9
    with pytest.raises(Unavailable, match="answered 500"):
        get(site, part, attempts=3)
    assert len(site.asked) == 3
    assert not part.exists()


def test_attempts_that_gain_bytes_do_not_count_as_failures(site: Site, part: Path) -> None:
    site.faults = [stops_after(40_000)] * 5
    assert get(site, part, attempts=2) == site.body


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_is_final_at_once(site: Site, part: Path, status: int) -> None:
    site.faults = [answers(status)]
    with pytest.raises(Unavailable, match=f"answered {status}"):
        get(site, part)
    assert len(site.asked) == 1


@pytest.mark.parametrize("page", [sends(HTML, "text/html"), sends(b"\n  " + HTML, "application/zip")])
def test_a_web_page_is_recognised_and_keeps_no_bytes(site: Site, part: Path, page) -> None:
    site.faults = [page]
    with pytest.raises(Unavailable, match="web page instead of the archive"):
        get(site, part)
    assert not part.exists()


def test_a_web_page_does_not_destroy_what_came_before(site: Site, part: Path) -> None:
    site.faults = [stops_after(100_000), sends(HTML, "text/html")]
    with pytest.raises(Unavailable, match="web page"):
        get(site, part)
    assert part.read_bytes() == site.body[:100_000]


def test_a_file_of_another_size_is_refused_before_it_is_read(site: Site, part: Path) -> None:
    site.faults = [sends(b"x" * 1000)]
    with pytest.raises(Unavailable, match="offers 1,000 bytes, not the 251,000 expected"):
        get(site, part)


def test_an_endless_answer_is_cut(site: Site, part: Path) -> None:
    def endless(handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"x" * 300_000)

    site.faults = [endless]
    with pytest.raises(Unavailable, match="more than the 251,000 bytes"):
        get(site, part)
    assert not part.exists()


def test_a_silent_server_is_given_up(site: Site, part: Path) -> None:
    over = threading.Event()
    site.faults = [stays_silent(over)] * 2
    try:
        with pytest.raises(Unavailable, match="timed out"):
            get(site, part, attempts=2, timeout=0.2)
    finally:
        over.set()


def test_an_unreachable_host_fails_at_once(tmp_path: Path) -> None:
    part = tmp_path / "toy.zip.part"
    with pytest.raises(Unavailable, match=r"cannot reach 127.0.0.1:9 \(Connection refused\)"):
        fetch("http://127.0.0.1:9/toy.zip", part, 10, pause=60)
    assert not part.exists()


def test_two_processes_do_not_write_one_file(site: Site, part: Path) -> None:
    part.parent.mkdir()
    with open(part, "ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process is writing"):
            get(site, part)


def test_a_folder_that_is_a_file_is_a_data_error(site: Site, tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("a file")
    with pytest.raises(DataError, match="cannot write"):
        get(site, tmp_path / "raw" / "toy.zip.part")


def exit_code_of(limit: str, site: Site, part: Path) -> int:
    """Fetch in a process that first limits itself; 9 stands for Unavailable, the wrong error."""
    code = f"""
import os, resource, sys
from pathlib import Path
from userrep.datasets.fetch import Unavailable, fetch
from userrep.errors import DataError
{limit}
try:
    fetch({site.url!r}, Path({str(part)!r}), {len(site.body)})
except DataError as error:
    sys.exit(9 if isinstance(error, Unavailable) else error.exit_code)
"""
    return subprocess.run([sys.executable, "-c", code], timeout=30).returncode


def test_a_full_disk_is_a_data_error_and_the_rest_comes_later(site: Site, part: Path) -> None:
    full = "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))"
    assert exit_code_of(full, site, part) == 3
    assert get(site, part) == site.body
    assert site.asked == [None, "bytes=100000-"]


def test_a_folder_without_write_permission_is_a_data_error(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    folder.mkdir(mode=0o500)
    nobody = "os.geteuid() or os.seteuid(65534)"
    assert exit_code_of(nobody, site, folder / "toy.zip.part") == 3
    assert site.asked == []

"""Google Drive: the file itself, or one of the pages that come in its place."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from faulty_site import Handler, Site, answers, sends, stops_after

from userrep.datasets.drive import Drive, explained
from userrep.datasets.fetch import Unavailable
from userrep.errors import ConfigError

VIRUS = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
<p>Google Drive can't scan this file for viruses.</p><form id="download-form" action="ACTION" method="get">
<input type="hidden" name="id" value="abc"><input type="hidden" name="export" value="download">
<input type="hidden" name="confirm" value="t">
<input type="hidden" name="uuid" value="1-2&amp;3"></form></body></html>"""
QUOTA = """<html><head><title>Google Drive - Quota exceeded</title></head><body>Sorry, you can't view or download this
file at this time. Too many users have viewed or downloaded this file recently.</body></html>"""


def drive(site: Site, **changes: object) -> Drive:
    known = {"id": "abc", "address": site.url.replace("toy.zip", "download"), "pause": 0.01, "members": ["toy/u.data"]}
    return Drive(**(known | changes))  # type: ignore[arg-type]


def noting(paths: list[str]) -> object:
    """Answer with the file, and note what was asked for."""

    def answer(handler: Handler) -> None:
        paths.append(handler.path)
        handler.send_file()

    return answer


def test_the_direct_address_is_asked_for_and_no_size_need_be_known(site: Site, tmp_path: Path) -> None:
    paths: list[str] = []
    site.faults = [noting(paths)]  # type: ignore[list-item]
    with drive(site).fetched(tmp_path) as archive:
        assert archive.read_bytes() == site.body
    (asked,) = paths
    assert urlsplit(asked).path == "/download"
    assert parse_qs(urlsplit(asked).query) == {"id": ["abc"], "export": ["download"], "confirm": ["t"]}
    assert list(tmp_path.iterdir()) == []


def test_the_virus_page_is_confirmed_once(site: Site, tmp_path: Path) -> None:
    paths: list[str] = []
    page = VIRUS.replace("ACTION", "/download").encode()
    site.faults = [sends(page, "text/html; charset=utf-8"), noting(paths)]  # type: ignore[list-item]
    with drive(site).fetched(tmp_path) as archive:
        assert archive.read_bytes() == site.body
    assert parse_qs(urlsplit(paths[0]).query)["uuid"] == ["1-2&3"]
    site.faults = [sends(page, "text/html"), sends(page, "text/html")]
    with pytest.raises(Unavailable, match="asks to confirm") as caught, drive(site).fetched(tmp_path):
        pass
    assert "--from-file" in caught.value.hint
    assert len(site.asked) == 4


@pytest.mark.parametrize("action", ["https://evil.example/download", "//evil.example/x", ""])
def test_a_form_that_leads_elsewhere_is_not_followed(site: Site, tmp_path: Path, action: str) -> None:
    page = VIRUS.replace("ACTION", action)
    site.faults = [sends(page.encode(), "text/html")]
    with pytest.raises(Unavailable, match="asks to confirm"), drive(site).fetched(tmp_path):
        pass
    assert len(site.asked) == 1


def test_the_quota_page_is_one_line_of_cause_and_one_of_remedy(site: Site, tmp_path: Path) -> None:
    site.faults = [sends(QUOTA.encode(), "text/html")]
    with pytest.raises(Unavailable, match="quota for this file is used up") as caught, drive(site).fetched(tmp_path):
        pass
    assert "try again in a day" in caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("page", "cause"),
    [
        ("<html>You need access. Ask for access</html>", "wants a login"),
        ("<html>Sorry, the file you have requested does not exist.</html>", "no such file any more"),
    ],
)
def test_other_pages_of_drive_are_told_apart(page: str, cause: str) -> None:
    found = explained(page)
    assert found is not None
    assert cause in found.message
    assert explained("<html>It works!</html>") is None


def test_an_interrupted_file_of_unknown_size_goes_on_and_a_whole_one_is_not_fetched_again(
    site: Site, tmp_path: Path
) -> None:
    site.faults = [stops_after(100), answers(404)]
    with pytest.raises(Unavailable, match="404"), drive(site).fetched(tmp_path):
        pass
    assert (tmp_path / "u.data.part").stat().st_size == 100
    with drive(site).fetched(tmp_path) as archive:
        assert archive.read_bytes() == site.body
    assert site.asked[-1] == "bytes=100-"
    (tmp_path / "u.data.part").write_bytes(site.body)

    def nothing_left(handler: Handler) -> None:
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{len(site.body)}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    site.faults = [nothing_left]
    with drive(site).fetched(tmp_path) as archive:
        assert archive.read_bytes() == site.body
    (tmp_path / "u.data.part").write_bytes(b"of a longer file" * 1000)
    site.faults = [nothing_left]
    with drive(site).fetched(tmp_path) as archive:
        assert archive.read_bytes() == site.body
    assert site.asked[-1] is None


@pytest.mark.parametrize("id", ["", "a b", "../x", "a&b=c", "https://drive.google.com/file/d/abc/view"])
def test_an_id_is_the_part_of_a_link_and_nothing_else(id: str) -> None:
    with pytest.raises(ConfigError, match="no id of Google Drive"):
        Drive(id=id)

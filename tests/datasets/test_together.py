"""Several archives as one source: fetched once each, kept until all have come, checked when given by hand."""

import io
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
from faulty_site import Site

from userrep.datasets.fetch import Unavailable
from userrep.datasets.sources import Web, recognise
from userrep.datasets.together import Together
from userrep.errors import ConfigError, DataError


def zip_of(name: str, content: bytes) -> bytes:
    """Return a zip that holds `toy/NAME`."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        opened.writestr(f"toy/{name}", content)
    return packed.getvalue()


BODIES = {"u.data": zip_of("u.data", b"1\t2\t3\t4\n"), "u.user": zip_of("u.user", b"1|24|M\n")}


def web(name: str, url: str, body: bytes, member: str) -> Web:
    digest = sha256(body).hexdigest()
    known = {"size": len(body), "sha256": digest, "layout": "official", "pause": 0.01}
    return Web(url=f"{url}/{name}.zip", members=[f"toy/{member}"], **known)  # type: ignore[arg-type]


def by_hand() -> Together:
    """A source of the two archives, which no test fetches."""
    return Together(parts=[web(member, "http://localhost", body, member) for member, body in BODIES.items()])


@pytest.fixture
def given(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.zip" for name in BODIES]
    for path, body in zip(paths, BODIES.values(), strict=True):
        path.write_bytes(body)
    return paths


def test_archives_given_by_hand_are_known_by_their_checksums_in_any_order(given: list[Path]) -> None:
    source = by_hand()
    assert source.published
    assert source.members == ["toy/u.data", "toy/u.user"]
    assert recognise(given, [source]) == recognise(given[::-1], [source]) == (source, True)
    given[1].write_bytes(zip_of("u.user", b"1|25|M\n"))
    assert recognise(given, [source]) == (source, False)


def test_half_of_the_archives_is_refused_with_what_it_lacks(given: list[Path]) -> None:
    with pytest.raises(DataError, match=r"u\.data\.zip lacks toy/u\.user") as caught:
        recognise(given[0], [by_hand()])
    assert caught.value.hint == "give all of http://localhost/u.data.zip and http://localhost/u.user.zip"


def test_what_has_come_is_kept_until_all_has(site: Site, tmp_path: Path) -> None:
    base = site.url.rpartition("/")[0]
    parts = [web("one", base, site.body, "u.data"), web("two", base, site.body, "u.user")]
    whole = parts[1].url
    parts[1].url = "http://127.0.0.1:9/two.zip"  # nobody listens there
    with pytest.raises(Unavailable, match="cannot reach"), Together(parts=parts).fetched(tmp_path):
        pass
    assert (tmp_path / "one.zip.part").read_bytes() == site.body
    parts[1].url = whole
    with Together(parts=parts).fetched(tmp_path) as archives:
        assert [path.read_bytes() for path in archives] == [site.body] * 2
    assert len(site.asked) == 2
    assert list(tmp_path.iterdir()) == []


def test_an_archive_of_both_parts_is_fetched_once(site: Site, tmp_path: Path) -> None:
    base = site.url.rpartition("/")[0]
    source = Together(parts=[web("one", base, site.body, member) for member in ("u.data", "u.user")])
    assert source.label == f"{base}/one.zip"
    with source.fetched(tmp_path) as archives:
        assert recognise(archives, [source]) == (source, True)
    assert len(site.asked) == 1


def test_parts_are_of_one_layout() -> None:
    other = Web(url="http://localhost/x.zip", layout="atomic", members=["x.inter"])
    with pytest.raises(ConfigError, match="2 layouts"):
        Together(parts=[by_hand().parts[0], other])

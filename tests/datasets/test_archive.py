"""Taking files out of archives, hostile ones included."""

import stat
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from userrep.datasets.archive import BadArchive, extract

GIB = 1 << 30


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "toy.zip"
    pack(path, {"toy/u.data": b"1\t2\n" * 5000, "toy/u.user": b"1|24\n", "toy/README": b"not wanted"})
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "raw"


def pack(path: Path, files: dict[str | zipfile.ZipInfo, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            opened.writestr(name, content)


def test_only_the_named_members_come_out_flat(archive: Path, folder: Path) -> None:
    files = extract(archive, ["toy/u.data", "toy/u.user"], folder, GIB)
    assert sorted(path.name for path in folder.iterdir()) == ["u.data", "u.user"]
    assert (folder / "u.data").read_bytes() == b"1\t2\n" * 5000
    assert files["u.user"] == {"bytes": 5, "sha256": sha256(b"1|24\n").hexdigest()}


def test_a_missing_member_is_named_and_nothing_is_written(archive: Path, folder: Path) -> None:
    with pytest.raises(BadArchive, match=r"does not hold toy/u\.item"):
        extract(archive, ["toy/u.data", "toy/u.item"], folder, GIB)
    assert not folder.exists()


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "toy/../../evil",
        "/etc/evil",
        "C:/evil",
        "C:evil",
        "..\\evil",
        "toy\\..\\..\\evil",
        "\\\\host\\evil",
    ],
)
def test_an_entry_that_escapes_condemns_the_archive(tmp_path: Path, folder: Path, name: str) -> None:
    path = tmp_path / "toy.zip"
    pack(path, {"toy/u.data": b"fine", name: b"evil"})
    with pytest.raises(BadArchive, match="points out of its folder"):
        extract(path, ["toy/u.data"], folder, GIB)
    with pytest.raises(BadArchive, match="points out of its folder"):
        extract(path, [name], folder, GIB)
    assert not folder.exists()
    assert not (tmp_path / "evil").exists()


def test_a_link_is_not_followed(tmp_path: Path, folder: Path) -> None:
    link = zipfile.ZipInfo("toy/u.data")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    path = tmp_path / "toy.zip"
    pack(path, {link: b"/etc/passwd"})
    with pytest.raises(BadArchive, match="no plain file"):
        extract(path, ["toy/u.data"], folder, GIB)


def test_an_encrypted_member_is_refused(archive: Path, folder: Path) -> None:
    content = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    archive.write_bytes(content)
    with pytest.raises(BadArchive, match="encrypted"):
        extract(archive, ["toy/u.data"], folder, GIB)


def test_a_zip_bomb_is_refused(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "bomb.zip"
    pack(path, {"toy/u.data": bytes(5_000_000)})
    assert path.stat().st_size < 10_000
    with pytest.raises(BadArchive, match="would unpack to 5,000,000 bytes; the limit is 1,000,000"):
        extract(path, ["toy/u.data"], folder, 1_000_000)


def test_a_zip_that_understates_its_size_stops_there(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "bomb.zip"
    pack(path, {"toy/u.data": bytes(5_000_000)})
    true, stated = (5_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(true, stated))
    with pytest.raises(BadArchive, match="damaged"):
        extract(path, ["toy/u.data"], folder, 1_000_000)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kept", [0, 10, 100, 0.5, 0.99])
def test_a_truncated_archive_is_damaged(archive: Path, folder: Path, kept: float) -> None:
    content = archive.read_bytes()
    archive.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(BadArchive, match="damaged or no zip"):
        extract(archive, ["toy/u.data"], folder, GIB)


def test_a_flipped_byte_leaves_no_file(archive: Path, folder: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[60] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(BadArchive, match="damaged"):
        extract(archive, ["toy/u.data"], folder, GIB)
    assert list(folder.iterdir()) == []

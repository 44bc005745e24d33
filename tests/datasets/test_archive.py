"""Taking files out of archives, hostile ones included."""

import gzip
import io
import random
import stat
import tarfile
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
    with pytest.raises(BadArchive, match="is damaged"):
        extract(archive, ["toy/u.data"], folder, GIB)


def test_a_flipped_byte_leaves_no_file(archive: Path, folder: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[60] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(BadArchive, match="damaged"):
        extract(archive, ["toy/u.data"], folder, GIB)
    assert list(folder.iterdir()) == []


def tar(path: Path, files: dict[str, bytes], mode: str = "w:gz", link: str = "") -> Path:
    with tarfile.open(path, mode) as opened:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            opened.addfile(entry, io.BytesIO(content))
        if link:
            entry = tarfile.TarInfo("toy/u.data")
            entry.type, entry.linkname = tarfile.SYMTYPE, link
            opened.addfile(entry)
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_tars_are_known_by_their_first_bytes(tmp_path: Path, folder: Path, mode: str) -> None:
    path = tar(tmp_path / "no suffix", {"deep/down/u.data": b"1\t2\n", "README": b"no"}, mode)
    assert list(extract(path, ["u.data"], folder, GIB)) == ["u.data"]
    assert (folder / "u.data").read_bytes() == b"1\t2\n"


def test_a_tar_that_escapes_or_links_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(BadArchive, match="points out of its folder"):
        extract(tar(tmp_path / "a", {"u.data": b"x", "../evil": b"x"}), ["u.data"], folder, GIB)
    with pytest.raises(BadArchive, match="no plain file"):
        extract(tar(tmp_path / "b", {}, link="/etc/passwd"), ["u.data"], folder, GIB)
    assert not folder.exists()


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_half_a_tar_or_a_packed_file_is_damaged(tmp_path: Path, folder: Path, share: float) -> None:
    content = bytes(random.Random(0).randbytes(200_000))
    for path in (tar(tmp_path / "a.tgz", {"u.data": content}), tmp_path / "u.data.gz"):
        whole = path.read_bytes() if path.exists() else gzip.compress(content)
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(BadArchive, match="damaged") as caught:
            extract(path, ["u.data"], folder, GIB)
        assert "fetch it again" in caught.value.hint
    assert not folder.exists() or not list(folder.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>sign in</html>", "is a web page"),
        (b"7z\xbc\xaf\x27\x1c....", "is a 7z archive"),
        (b"Rar!\x1a\x07", "is a rar archive"),
    ],
)
def test_what_is_no_archive_is_said(tmp_path: Path, folder: Path, content: bytes, message: str) -> None:
    (tmp_path / "u.data").write_bytes(content)
    with pytest.raises(BadArchive, match=message) as caught:
        extract(tmp_path / "u.data", ["u.data"], folder, GIB)
    assert caught.value.hint


def test_a_folder_and_loose_files_give_their_named_files_alone(tmp_path: Path, folder: Path, archive: Path) -> None:
    place = tmp_path / "unpacked"
    (place / "deep").mkdir(parents=True)
    (place / "deep" / "a.csv").write_bytes(b"1,2\n")
    (place / "b.csv.gz").write_bytes(gzip.compress(b"3\n"))
    (place / "secret").write_bytes(b"no")
    assert set(extract(place, ["a.csv", "b.csv"], folder, GIB, ["c.csv"])) == {"a.csv", "b.csv.gz"}
    assert {path.name for path in folder.iterdir()} == {"a.csv", "b.csv.gz"}
    both = extract([place / "deep" / "a.csv", archive], ["a.csv", "toy/u.user"], folder, GIB)
    assert set(both) == {"a.csv", "u.user"}
    assert set(extract(place, ["*.csv"], folder, GIB)) == {"a.csv"}
    (place / "a.csv").write_bytes(b"another")
    with pytest.raises(BadArchive, match=r"may be .*a\.csv and .*a\.csv"):
        extract(place / ".", ["other/a.csv"], folder, GIB)

"""What tests of downloading share: a site that serves a small archive, and that archive."""

import io
import zipfile
from collections.abc import Iterator

import pytest
from faulty_site import Site, serve


def zip_of(**files: bytes) -> bytes:
    """Return a zip that holds `toy/NAME` for every file."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            opened.writestr(f"toy/{name}", content)
    return packed.getvalue()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site(body=zip_of(**{"u.data": b"1\t2\t3\t4\n" * 40, "u.user": b"1|24|M\n", "README": b"not wanted"}))
    server = serve(site)
    yield site
    server.shutdown()
    server.server_close()

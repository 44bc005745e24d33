"""Files that their authors keep on Google Drive, with the pages that it may send in their place."""

import re
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urlencode, urljoin, urlsplit

from userrep.datasets.fetch import Unavailable, fetch
from userrep.datasets.sources import Fetched
from userrep.errors import ConfigError

HOST = "https://drive.usercontent.google.com/download"
QUOTA = ("quota exceeded", "too many users have viewed or downloaded")
VIRUS = ("virus scan warning", "scan this file for viruses")
CLOSED = ("you need access", "sign in", "accounts.google.com")
GONE = ("file you have requested does not exist", "file does not exist")
FIELD = re.compile(r"""<input[^>]*\bname=["']([\w-]+)["'][^>]*\bvalue=["']([^"']*)["']""")
FORM = re.compile(r"""<form[^>]*\baction=["']([^"']+)["']""")


class _Confirm(Unavailable):
    """The page that asks whether a large file is wanted although nobody looked it through for viruses."""

    def __init__(self, page: str) -> None:
        super().__init__("Google Drive asks to confirm a file that it did not scan for viruses", BROWSER)
        self.page = page


BROWSER = "open the link in a browser, save the file, and give it with --from-file"


@dataclass(kw_only=True)
class Drive(Fetched):
    """A public file on Google Drive, by its id; none has a published checksum or size.

    Drive answers large files with a page that asks for confirmation, and popular ones, for a day, with a page that
    says that the quota is used up. The first is confirmed, once; the second is told.
    """

    id: str
    address: str = HOST

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"[\w-]+", self.id):
            raise ConfigError(f"{self.id!r} is no id of Google Drive", "give the part of the link after /d/ or id=")

    @property
    def label(self) -> str:
        return f"https://drive.google.com/file/d/{self.id}/view"

    def _part(self) -> str:
        alone = len(self.members) == 1 and "*" not in self.members[0]
        return Path(self.members[0]).name if alone else self.id

    def _fetch(self, part: Path) -> None:
        address = f"{self.address}?{urlencode({'id': self.id, 'export': 'download', 'confirm': 't'})}"
        try:
            self._get(address, part)
        except _Confirm as asked:
            self._get(_confirmed(asked, address), part)

    def _get(self, address: str, part: Path) -> None:
        limits = {"attempts": self.attempts, "pause": self.pause, "timeout": self.timeout}
        fetch(address, part, self.size or None, explain=explained, **limits)  # type: ignore[arg-type]


def explained(page: str) -> Unavailable | None:
    """Say what a page of Google Drive means; None where it is another page."""
    text = page.lower()
    if any(sign in text for sign in QUOTA):
        cause = "Google Drive's quota for this file is used up: too many people fetched it today"
        return Unavailable(cause, f"try again in a day; or {BROWSER}")
    if any(sign in text for sign in VIRUS):
        return _Confirm(page)
    if any(sign in text for sign in GONE):
        return Unavailable("Google Drive has no such file any more", "ask its authors, and give it with --from-file")
    if any(sign in text for sign in CLOSED):
        return Unavailable("Google Drive wants a login for this file", BROWSER)
    return None


def _confirmed(asked: _Confirm, address: str) -> str:
    """Return the address that the page's form leads to, on the host that was asked and no other."""
    form = FORM.search(asked.page)
    fields = {name: unescape(value) for name, value in FIELD.findall(asked.page)}
    if form is None or not fields:
        raise asked
    target = urljoin(address, unescape(form[1]))
    if urlsplit(target)[:2] != urlsplit(address)[:2]:
        raise asked
    return f"{target.partition('?')[0]}?{urlencode(fields)}"

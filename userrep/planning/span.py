"""Spans: a number that is not known, as what is likely between what it may be at least and at most."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A likely value between two others."""

    low: float
    likely: float
    high: float

    def __add__(self, other: "Span") -> "Span":
        return Span(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def times(self, factor: float) -> "Span":
        """Return the span of so many of them."""
        return Span(self.low * factor, self.likely * factor, self.high * factor)

    def wider(self, down: float, up: float) -> "Span":
        """Return the span with its ends moved out by these shares of themselves."""
        return Span(self.low * (1 - down), self.likely, self.high * (1 + up))

    @property
    def told(self) -> dict[str, float]:
        """The numbers by name."""
        return {"seconds": _rounded(self.likely), "low": _rounded(self.low), "high": _rounded(self.high)}


def certain(value: float) -> Span:
    """Return a span of one value."""
    return Span(value, value, value)


def duration(seconds: float) -> str:
    """Write seconds as people say them: 0.4 s, 12 s, 3 min 20 s, 2 h 05 min, 3.2 days."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"
    if seconds < 48 * 3600:
        return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:02.0f} min"
    return f"{seconds / 86400:.1f} days"


def volume(size: float) -> str:
    """Write bytes in binary units: 512 B, 3.2 MiB, 1.50 GiB."""
    for unit, least in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= least:
            return f"{size / least:.2f} {unit}" if unit in ("TiB", "GiB") else f"{size / least:.1f} {unit}"
    return f"{size:.0f} B"


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")

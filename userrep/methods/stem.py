"""Stem: a patch on the item vectors alone, before the first block."""

from typing import ClassVar

from userrep.errors import ConfigError
from userrep.methods.method import Method


class Stem(Method):
    """Train a bottleneck on the item vectors and the head; freeze the rest. The other methods have it as an option."""

    paper: ClassVar[str] = "none: PeterRec's patch, at the stem"
    joint: ClassVar[str] = "stem"

    def __init__(self, stem_patch: int = 8, table_rank: int = 0) -> None:
        if stem_patch < 1:
            raise ConfigError(f"method.stem_patch is {stem_patch}", "give a width of at least 1, or take method=head")
        super().__init__(table_rank, stem_patch)

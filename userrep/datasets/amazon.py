"""Ratings of one category of Amazon's reviews, in the layouts of 2014, 2018 and 2023."""

from dataclasses import dataclass

from userrep.datasets.table import Table


@dataclass(kw_only=True)
class AmazonReviews(Table):
    """A table of ratings; the keys here are written into the addresses of its sources.

    category is called as in the address, such as Video_Games; core is "0core" (all) or "5core" in 2023; md5 is the
    published checksum of the archive, or empty.
    """

    category: str = ""
    core: str = ""
    md5: str = ""

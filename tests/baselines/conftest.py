"""Two small domains with planted taste, and a task that ranks the items of one for histories of the other."""

from typing import ClassVar

import numpy as np
import pytest

from userrep.datasets.two_domains import TwoDomains
from userrep.objectives.objective import ROLES
from userrep.objectives.ranking import Ranking
from userrep.sequences.batches import Cases
from userrep.sequences.prepare import prepare
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared, Sequences

TASTES, READ, BOUGHT = 4, 24, 16  # items: a read one's taste is its number modulo TASTES, a bought one's too


class Buys(Ranking):
    """What a user buys, for what the user read; a case an event, as many as the user has."""

    task_name: ClassVar[str] = "buys"  # type: ignore[assignment]

    def targets(self, data: Prepared, protocol: Protocol) -> Sequences:
        return data.sequences("bought")

    def seen(self, data: Prepared, protocol: Protocol, cases: Cases) -> None:  # type: ignore[override]
        return None

    def cases(self, data: Prepared, protocol: Protocol, role: str) -> Cases:
        read, bought = self.inputs(data, protocol), self.targets(data, protocol)
        roles = np.repeat(data.split(protocol.users, protocol.fold).user_role, np.diff(bought.offsets))
        rows = np.repeat(np.arange(data.num_users), np.diff(bought.offsets))
        chosen = np.flatnonzero((roles == ROLES[role]) & (np.diff(read.offsets)[rows] > 0))
        return Cases(rows[chosen], read.offsets[rows[chosen] + 1], np.asarray(bought.items[chosen], dtype=np.int64))


@pytest.fixture(scope="session")
def two_domains(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """120 users who read items of their taste mostly, and buy so too; every sixth only reads."""
    folder, rng = tmp_path_factory.mktemp("two"), np.random.default_rng(0)
    lines = []
    for user in range(120):
        taste = user % TASTES
        chosen = []
        for first, count, times in ((0, READ, rng.integers(3, 9)), (READ, BOUGHT, rng.integers(1, 4))):
            own = rng.random(times) < 0.8
            any_taste = np.where(own, taste, rng.integers(TASTES, size=times))
            chosen += (first + any_taste + TASTES * rng.integers(count // TASTES, size=times)).tolist()
            if user % 6 == 0:
                break
        lines.append(f"{user}\t{','.join(map(str, chosen))}\n")
    (folder / "all.txt").write_text("".join(lines))
    bounds = {"read": READ, "bought": READ + BOUGHT}
    dataset = TwoDomains(name="two", files=["all"], bounds=bounds, main="read")
    return prepare(dataset, {"name": "two"}, folder, folder / "prepared")


@pytest.fixture
def buys() -> Buys:
    return Buys()

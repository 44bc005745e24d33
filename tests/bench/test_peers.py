"""What peers are given is what the store holds, and rates are compared turn by turn; no peer is installed here."""

from pathlib import Path

import polars as pl
import pytest

pytest.importorskip("pandas")

from bench.peers.__main__ import CONTESTS, Contest, _result
from bench.peers.environment import PINS
from bench.peers.export import export
from bench.workspace import QUICK, Data


def test_the_newest_events_of_each_user_are_written_in_order(tmp_path: Path) -> None:
    data = Data(QUICK[0], tmp_path)
    data.make()
    frame = pl.read_csv(export(data.prepared, tmp_path / "newest", newest=6))
    found = {user: rows["item"].to_list() for (user,), rows in frame.sort("user", "time").group_by("user")}
    assert found == {user: items[-6:] for user, items in enumerate(data.lists())}
    other = pl.read_csv(tmp_path / "newest" / "events" / "events.inter", separator="\t")
    assert other.columns == ["user_id:token", "item_id:token", "timestamp:float"]
    assert other.rows() == frame.rows()
    assert len(pl.read_csv(export(data.prepared, tmp_path / "all"))) == len(data.prepared.sequences().items)


def test_every_peer_has_pins_and_a_script() -> None:
    scripts = Path(export.__code__.co_filename).parent
    for contest in CONTESTS:
        assert all("==" in pin for pin in PINS[contest.peer])
        assert (scripts / f"run_{contest.peer}.py").exists()


def test_a_ratio_is_of_rates_and_of_turns_side_by_side() -> None:
    contest = Contest("recbole", "SASRec", {})
    theirs = [{"positions": 10, "wall": wall, "processor": 1.0} for wall in (1.0, 2.0, 4.0)]
    ours = [{"positions": 60, "wall": wall, "processor": 2.0} for wall in (1.0, 2.0, 3.0)]
    found = _result(contest, "", 1, theirs, ours)
    assert found["wall_ratio"] == 6.0
    assert found["processor_ratio"] == 3.0

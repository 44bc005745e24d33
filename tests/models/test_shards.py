"""Shards: processes that hold a share of a table each read and teach it as if each had the whole."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from userrep import team
from userrep.models import shards
from userrep.models.rows import count_rows, mark, rows_between, rows_of
from userrep.training.row_optimizers import LazyAdam

ROWS, WIDTHS, RATE = 23, (4, 6), 0.1
TURNS = (3, 1)  # how often each process looks rows up in a step: not equally often
pytestmark = pytest.mark.timeout(300)


def tables() -> list[nn.Parameter]:
    drawn = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(ROWS, width, generator=drawn)) for width in WIDTHS]


def asked(place: int, turn: int) -> Tensor:
    return torch.randint(ROWS, (2, 5), generator=torch.Generator().manual_seed(10 * place + turn))


def loss_of(found: list[nn.Parameter], place: int, turn: int) -> Tensor:
    ids = asked(place, turn)
    parts = [rows_of(table, ids).square().sum() * (turn + 1) for table in found]
    return parts[0] + parts[1] if place == 0 else parts[1]  # the second process never reads the first table


def one_process() -> list[Tensor]:
    """Return what one process makes of all examples, in two steps of LazyAdam."""
    found = tables()
    for table in found:
        mark(table, True)
    optimizer = LazyAdam(found, lr=RATE)
    for _ in range(2):
        optimizer.zero_grad()
        sum(loss_of(found, place, turn) for place in range(2) for turn in range(TURNS[place])).backward()
        optimizer.step()
    return [table.detach() for table in found]


def as_one_of_two(folder: Path) -> None:
    """Do the same as one of two processes; write what each saw."""
    found, place = tables(), team.rank()
    shards.deal(found)
    seen: dict[str, Any] = {"held": [len(table) for table in found], "rows": [count_rows(table) for table in found]}
    optimizer = LazyAdam(found, lr=RATE)
    for _ in range(2):
        optimizer.zero_grad()
        for turn in range(TURNS[place]):
            loss_of(found, place, turn).backward()
        shards.settle()
        optimizer.step()
        optimizer = gone_on(optimizer, found, folder)
    with torch.no_grad():
        if place == 0:  # the other has nothing to evaluate, and answers
            seen["tile"] = rows_between(found[1], 20, 40)
    shards.settle()
    with shards.whole_with_leader():
        seen["with leader"] = [table.detach().clone() for table in found]
    shards.unite()
    seen["united"] = [table.detach().clone() for table in found]
    torch.save(seen, folder / f"{place}.pt")


def gone_on(optimizer: LazyAdam, found: list[nn.Parameter], folder: Path) -> LazyAdam:
    """Write the optimiser's state, by the leader, and return another that has read it."""
    state = optimizer.state_dict()
    if not team.follows():
        torch.save(state, folder / "optimizer.pt")
    team.agree(0)
    state = torch.load(folder / "optimizer.pt", weights_only=True)
    assert [len(kept["mean"]) for kept in state["state"].values()] == [ROWS, ROWS]
    another = LazyAdam(found, lr=RATE)
    another.load_state_dict(state)
    assert [len(another.state[table]["mean"]) for table in found] == [len(table) for table in found]
    team.agree(0)
    return another


def test_two_processes_with_half_a_table_each_do_what_one_does_with_all_of_it(tmp_path: Path) -> None:
    program = f"from pathlib import Path; from test_shards import as_one_of_two; as_one_of_two(Path({str(tmp_path)!r}))"
    here = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(team.free_port()), "WORLD_SIZE": "2"}
    children = [
        subprocess.Popen([sys.executable, "-c", program], env=here | address | {"RANK": str(place)})
        for place in range(2)
    ]
    assert [child.wait(200) for child in children] == [0, 0]
    first, second = (torch.load(tmp_path / f"{place}.pt", weights_only=True) for place in range(2))
    expected = one_process()
    assert first["held"] == [12, 12]
    assert second["held"] == [11, 11]
    assert first["rows"] == second["rows"] == [ROWS, ROWS]
    for number, whole in enumerate(expected):
        for found in (first["with leader"], first["united"], second["united"]):
            torch.testing.assert_close(found[number], whole)
        assert second["with leader"][number].shape == (11, WIDTHS[number])
    torch.testing.assert_close(first["tile"], expected[1][20:])


def test_an_own_table_is_read_as_it_is() -> None:
    table = tables()[0]
    assert shards.shard_of(table) is None
    assert torch.equal(rows_between(table, 20, 40), table[20:])
    shards.settle()  # nobody to answer

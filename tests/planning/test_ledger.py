"""The ledger against what hand and eye count."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from userrep.models.rows import RowTable, mark
from userrep.objectives.softmax import full_softmax, release_workspaces
from userrep.planning.ledger import Ledger, Stage

N, D, V = 32, 16, 64


def inside(work: object) -> Stage:
    ledger = Ledger()
    with ledger, ledger.at("here", "made"):
        work()  # type: ignore[operator]
    return ledger.stages["here"]


def test_what_lives_at_once_is_the_peak_and_what_died_is_not_in_it() -> None:
    given = torch.randn(N, D)

    def work() -> None:
        first = given + 1  # one matrix lives
        second = first * 2  # two
        del first
        third = second.t().reshape(-1)  # a copy: two again
        del second, third

    assert inside(work).peak == 2 * given.nbytes


def test_views_and_work_in_place_take_nothing() -> None:
    given = torch.randn(N, D)
    stage = inside(lambda: given.view(-1)[5:].mul_(2))
    assert stage.peak == 0
    assert len(stage.operations) == 1  # the product alone computes


def test_activations_of_a_network_are_what_its_backward_pass_needs() -> None:
    network = nn.Sequential(nn.Linear(D, 2 * D), nn.ReLU(), nn.Linear(2 * D, D))
    ledger, given = Ledger(), torch.randn(N, D)
    with ledger, ledger.tagging(network, "activations"), ledger.at("forward", "other"):
        states = network(given)
    hidden, out = N * 2 * D * 4, N * D * 4
    tags = ledger.stages["forward"].tags
    assert 2 * hidden <= tags["activations"] <= 2 * hidden + out  # before and after the ReLU, and the end
    assert tags.get("other", 0) == 0
    assert states.requires_grad


def test_gradients_of_rows_count_as_rows() -> None:
    table = RowTable(10_000, D)
    mark(table.weight, True)
    stage = inside(lambda: table(torch.arange(N)).sum().backward())
    assert stage.peak < 20 * N * D * 4 < table.weight.nbytes
    assert table.weight.grad is not None
    assert table.weight.grad.is_sparse


@pytest.mark.parametrize("count", [N, 700])  # below and above a chunk of the softmax
def test_arithmetic_of_the_chunked_softmax_is_three_products(count: int) -> None:
    states, table = torch.randn(count, D, requires_grad=True), torch.randn(V, D, requires_grad=True)
    release_workspaces()
    stage = inside(lambda: full_softmax(states, table, None, torch.arange(count) % V).backward())
    assert sum(one.flops for one in stage.operations) == 3 * 2 * count * D * V


def test_attention_and_its_backward_pass_are_counted() -> None:
    made = [torch.randn(2, 1, 8, D, requires_grad=True) for _ in range(3)]
    stage = inside(lambda: F.scaled_dot_product_attention(*made).sum().backward())
    forward = 2 * 2 * 2 * 8 * 8 * D
    assert sum(one.flops for one in stage.operations) >= forward * 3


def test_traffic_is_what_is_read_and_written() -> None:
    left, right = torch.randn(N, D), torch.randn(D, V)
    (product,) = inside(lambda: left @ right).operations
    assert product.flops == 2 * N * D * V
    assert product.traffic == (N * D + D * V + N * V) * 4


def test_a_lookup_moves_its_rows_and_not_the_table() -> None:
    table, ids = torch.randn(10_000, D), torch.arange(N)
    (lookup,) = inside(lambda: F.embedding(ids, table)).operations
    assert lookup.traffic == 2 * N * D * 4 + ids.nbytes

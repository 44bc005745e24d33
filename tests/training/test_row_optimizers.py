"""Tables that are updated row by row: against Adam where that is the same, and against loops where it is not."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from userrep.errors import ConfigError
from userrep.models.rows import is_marked, mark, rows_of
from userrep.training import row_optimizers, tables
from userrep.training.optim import Together, clip_gradients, make_optimizer, set_rate
from userrep.training.row_optimizers import ROW_OPTIMIZERS, LazyAdam, RowAdagrad, RowOptimizer, named_rows
from userrep.training.tables import Rows, choose_rows
from userrep.training.trainer import TABLES, Trainer

ROWS, WIDTH = 30, 4


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_optimizers, "CHUNK", 7)


def table() -> nn.Parameter:
    return nn.Parameter(torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64))


def steps(count: int, share: float = 0.4) -> list[Tensor]:
    """Draw dense gradients of which some rows are zero."""
    generator = torch.Generator().manual_seed(1)
    made = torch.randn(count, ROWS, WIDTH, generator=generator, dtype=torch.float64)
    return list(made * (torch.rand(count, ROWS, 1, generator=generator) < share))


def sparse(gradient: Tensor) -> Tensor:
    """Write the rows of a gradient that are not zero, each in two halves, as two lookups of a step would."""
    rows = gradient.abs().sum(dim=1).nonzero()[:, 0]
    indices, values = rows.repeat(2).unsqueeze(0), gradient[rows].repeat(2, 1) / 2
    return torch.sparse_coo_tensor(indices, values, gradient.shape, check_invariants=True)


def test_where_all_rows_are_read_lazy_adam_is_adam() -> None:
    ours, theirs = table(), table()
    lazy, adam = LazyAdam([ours], lr=0.01, weight_decay=0.1), torch.optim.AdamW([theirs], lr=0.01, weight_decay=0.1)
    for gradient in steps(6, share=2.0):
        ours.grad, theirs.grad = sparse(gradient), gradient.clone()
        lazy.step()
        adam.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_a_dense_gradient_moves_every_row() -> None:
    ours, theirs = table(), table()
    lazy, adam = LazyAdam([ours], lr=0.01), torch.optim.AdamW([theirs], lr=0.01, weight_decay=0.0)
    for gradient in steps(6):
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        lazy.step()
        adam.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_lazy_adam_keeps_the_averages_of_adam_and_moves_only_what_was_read() -> None:
    ours = table()
    lazy = LazyAdam([ours], lr=0.01)
    values, mean, square = ours.detach().clone(), torch.zeros(ROWS, WIDTH).double(), torch.zeros(ROWS, WIDTH).double()
    last = torch.zeros(ROWS, 1).double()
    for step, gradient in enumerate(steps(12), start=1):
        ours.grad = sparse(gradient)
        lazy.step()
        read = gradient.abs().sum(dim=1, keepdim=True) > 0
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        moves = 0.01 * (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
        until = sum(0.9**later * (later < step - last).double() for later in range(step))  # of the steps missed before
        values -= torch.where(read, moves * until, 0.0)
        last = torch.where(read, float(step), last)
        torch.testing.assert_close(ours.detach(), values, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("gap", [1, 2, 5, 30])
def test_a_row_that_is_read_rarely_goes_as_far_as_adam_moves_it_until_it_is_read_again(gap: int) -> None:
    ours, theirs = table(), table()
    lazy, adam = LazyAdam([ours], lr=0.01), torch.optim.Adam([theirs], lr=0.01)
    nothing = torch.zeros(ROWS, WIDTH).double()
    drawn = torch.randn(200, ROWS, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for gradient in [one for read in drawn for one in (*[nothing] * (gap - 1), read)] + [nothing] * (gap - 1):
        ours.grad, theirs.grad = sparse(gradient), gradient.clone()
        lazy.step()
        adam.step()
    assert (ours - theirs).abs().mean() < 0.015 * (theirs - table()).abs().mean()


class Still(RowOptimizer):
    """Changes nothing, so that the decay alone is seen."""

    def start(self, table: Tensor) -> dict[str, Tensor]:
        return {}

    def change(self, state: dict[str, Any], rows: Tensor, gradient: Tensor, passed: Tensor, lr: float) -> Tensor:
        return torch.zeros_like(gradient)


def test_a_decay_is_caught_up_when_a_row_is_read_again() -> None:
    ours = table()
    before = ours.detach().clone()
    still = Still([ours], lr=0.1, weight_decay=0.5)
    for read in (0, 1, 1, 0, 2):
        ours.grad = torch.sparse_coo_tensor([[read]], torch.ones(1, WIDTH).double(), ours.shape, check_invariants=True)
        still.step()
    for row, steps_caught_up in ((0, 4), (1, 3), (2, 5), (3, 0)):
        torch.testing.assert_close(ours[row].detach(), before[row] * 0.95**steps_caught_up)


def test_row_adagrad_sums_the_mean_squares_of_a_row() -> None:
    ours = table()
    adagrad = RowAdagrad([ours], lr=0.05)
    values, total = ours.detach().numpy().copy(), np.zeros(ROWS)
    for gradient in steps(8):
        ours.grad = sparse(gradient)
        adagrad.step()
        for row, own in enumerate(gradient.numpy()):
            if np.abs(own).sum() > 0:
                total[row] += np.mean(own**2)
                values[row] -= 0.05 * own / (np.sqrt(total[row]) + 1e-8)
    np.testing.assert_allclose(ours.detach().numpy(), values, rtol=1e-10)


@pytest.mark.parametrize("kind", ROW_OPTIMIZERS)
def test_a_row_optimizer_goes_on_from_its_state(kind: str) -> None:
    gradients = steps(6)

    def run(optimizer: Any, own: nn.Parameter, part: list[Tensor]) -> None:
        for gradient in part:
            own.grad = sparse(gradient)
            optimizer.step()

    whole, halves = table(), table()
    run(ROW_OPTIMIZERS[kind]([whole]), whole, gradients)
    first = ROW_OPTIMIZERS[kind]([halves])
    run(first, halves, gradients[:3])
    second = ROW_OPTIMIZERS[kind]([halves])
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    run(second, halves, gradients[3:])
    assert torch.equal(whole, halves)


def test_a_row_that_was_read_twice_is_clipped_by_its_sum() -> None:
    dense, rows = table(), table()
    gradient = steps(1)[0] * 10
    dense.grad, rows.grad = gradient.clone(), sparse(gradient)
    other = nn.Parameter(torch.ones(3, dtype=torch.float64))
    for own in (dense, rows):
        other.grad = torch.ones(3, dtype=torch.float64)
        clip_gradients(torch.optim.SGD([own, other], lr=1.0), 0.7)
        total = other.grad.square().sum() + own.grad.to_dense().square().sum()
        torch.testing.assert_close(total.sqrt(), torch.tensor(0.7, dtype=torch.float64), rtol=1e-5, atol=0)
    torch.testing.assert_close(dense.grad, rows.grad.to_dense())
    assert named_rows(rows.grad)[0].tolist() == sorted(set(named_rows(rows.grad)[0].tolist()))


def test_only_a_marked_table_itself_makes_sparse_gradients() -> None:
    own = table()
    mark(own, True)
    rows_of(own, torch.tensor([1, 1, 2])).sum().backward()
    assert own.grad is not None
    assert own.grad.is_sparse
    own.grad = None
    assert not is_marked(own * 2)
    assert not is_marked(own[:5])
    rows_of(own[:5], torch.tensor([1])).sum().backward()
    assert own.grad is not None
    assert not own.grad.is_sparse


def test_auto_takes_large_tables_that_train_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tables.LARGE, "cpu", ROWS)
    large, small, frozen = table(), nn.Parameter(torch.zeros(ROWS - 1, 2)), table().requires_grad_(False)
    chosen = choose_rows("auto", [large, small, frozen], "cpu")
    assert chosen.kind == "lazy"
    assert chosen.tables == (large,)
    assert str(ROWS) in chosen.told
    assert choose_rows("auto", [large], "cuda") == Rows()  # a run that began there, wherever it goes on
    assert choose_rows("auto", [small, frozen], "cpu") == Rows()
    assert choose_rows("dense", [large], "cpu") == Rows()
    assert choose_rows("rowwise", [small], "cpu").tables == (small,)
    with pytest.raises(ConfigError, match="read by row"):
        choose_rows("lazy", [frozen], "cpu")


def test_the_trainer_knows_every_row_optimizer() -> None:
    assert set(TABLES) == {"auto", "dense", *ROW_OPTIMIZERS}
    with pytest.raises(ConfigError, match="tables"):
        Trainer(tables="sparse")


def test_tables_by_row_have_the_rate_and_the_decay_of_tables_and_follow_the_schedule() -> None:
    import tiny

    encoder = tiny.encoder("nextitnet")
    trainer = Trainer(lr=0.1, table_lr=0.4, table_weight_decay=0.2, warmup=0.5, epochs=1)
    optimizer = make_optimizer(encoder, nn.Identity(), trainer, 8, rows=Rows("lazy", tuple(encoder.stem.tables())))
    assert isinstance(optimizer, Together)
    own = optimizer.param_groups[-1]
    assert own["params"] == encoder.stem.tables()
    assert (own["peak"], own["weight_decay"]) == (0.4, 0.2)
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in encoder.parameters())
    set_rate(optimizer, trainer, 0, 10)
    assert own["lr"] == pytest.approx(0.4 / 5)

"""Batches made of parts: the gradient is that of the whole batch, however it is cut and whoever computes a part."""

from pathlib import Path
from typing import Any

import loop
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from userrep import team
from userrep.errors import ConfigError
from userrep.models.dropout import Dropout
from userrep.objectives.classify import Classify
from userrep.objectives.next_item import NextItem
from userrep.sequences.store import Prepared
from userrep.training.accumulation import Accumulation, Asked, Sums, sum_over_team
from userrep.training.trainer import Trainer


def close(left: loop.Outcome, right: loop.Outcome) -> None:
    assert left[0].keys() == right[0].keys()
    for name in left[0]:
        torch.testing.assert_close(left[0][name], right[0][name], rtol=1e-4, atol=1e-5)
    for mine, theirs in zip(left[2], right[2], strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-5)


def still(job: Any) -> Any:
    """Take dropout out of a job: each part would draw its own."""
    for module in job.encoder.modules():
        if isinstance(module, Dropout):
            module.dropped_levels = 0
    return job


@pytest.mark.parametrize("parts", [2, 3, 20])
def test_a_training_in_parts_is_the_training_of_whole_batches(few: Prepared, tmp_path: Path, parts: int) -> None:
    whole = loop.finish(still(loop.make_job(few, tmp_path / "whole", "pretrain")))
    cut = loop.finish(still(loop.make_job(few, tmp_path / "cut", "pretrain", accumulate=parts)))
    close(cut, whole)


class Small(NextItem):
    """Runs out of memory above so many examples."""

    most = 6

    def loss(self, encoder: Any, batch: Any, generator: torch.Generator) -> Tensor:
        if len(batch.items) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().loss(encoder, batch, generator)


def test_where_memory_runs_out_the_batch_is_kept_and_its_parts_are_halved(
    few: Prepared, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = loop.finish(still(loop.make_job(few, tmp_path / "whole", "pretrain")))
    job = still(loop.make_job(few, tmp_path / "small", "pretrain"))
    own = Small()
    own.setup(job.encoder, job.data, job.protocol)
    job.objective = own
    close(loop.finish(job), whole)
    told = capsys.readouterr().err
    assert told.count("out of memory") == 2  # 20 examples, then 10, then 5
    assert "made of 4 parts" in told


def test_one_example_that_does_not_fit_is_an_error(few: Prepared, tmp_path: Path) -> None:
    job = loop.make_job(few, tmp_path, "pretrain")
    job.objective = Small()
    job.objective.most = 0
    with pytest.raises(torch.OutOfMemoryError):
        loop.finish(job)


def test_a_loss_that_compares_the_users_of_a_batch_is_not_cut(few: Prepared, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="learned in parts"):
        loop.finish(loop.make_job(few, tmp_path, "full", accumulate=2))
    assert not Classify("gender", norm="batch").divisible
    assert Classify("gender", norm="layer").divisible
    with pytest.raises(ConfigError, match="accumulate"):
        Trainer(batch_size=4, accumulate=5)


class Others:
    """The rest of a team, who have gradients of their own: what is summed or gathered of them is added."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, sums: list[Tensor], rows: list[Tensor]) -> None:
        self.sums, self.rows = iter(sums), iter(rows)
        monkeypatch.setattr(team, "size", lambda: 2)
        monkeypatch.setattr(team, "add", lambda *values: [value.add_(next(self.sums)) for value in values])
        monkeypatch.setattr(team, "gather_rows", lambda value: [value, next(self.rows)])


def test_what_a_team_adds_up_is_each_gradient_that_anybody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs, nobody, table = (nn.Parameter(torch.zeros(3, 2)) for _ in range(4))
    ours.grad = torch.ones(3, 2)
    table.grad = torch.sparse_coo_tensor([[0, 0]], torch.ones(2, 2), (3, 2), check_invariants=True)
    told = torch.tensor([5.0, 2.0, 1.0, 0.0, 0, 1, 0, 1, 0, 0, 0, 1], dtype=torch.float64)
    Others(
        monkeypatch,
        sums=[told, torch.arange(12.0)],  # their loss, terms and wish to stop, who has what; then the dense gradients
        rows=[torch.tensor([0, 2]), torch.full((2, 2), 3.0)],
    )
    sums = sum_over_team([ours, theirs, nobody, table], Sums(torch.tensor(1.0, dtype=torch.float64), 4.0))
    assert (float(sums.loss), sums.terms, sums.asked) == (6.0, 6.0, Asked(stop=True))
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad, 1 + torch.arange(6.0).view(3, 2))
    torch.testing.assert_close(theirs.grad, torch.arange(6.0, 12.0).view(3, 2))
    assert nobody.grad is None
    assert table.grad is not None
    assert table.grad.is_sparse
    torch.testing.assert_close(table.grad.to_dense(), torch.tensor([[5.0, 5.0], [0.0, 0.0], [3.0, 3.0]]))


def test_shares_of_a_batch_hold_each_example_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    found = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        found.append(team.share(np.arange(7)))
    assert sorted(np.concatenate(found).tolist()) == list(range(7))
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_a_step_that_runs_out_of_memory_draws_the_same_again() -> None:
    objective, draws, seen = Small(), torch.Generator().manual_seed(3), []
    weight = nn.Parameter(torch.ones(2))

    def loss_of(index: np.ndarray) -> Tensor:
        seen.append(float(torch.rand((), generator=draws)))
        if len(index) > 2:
            raise MemoryError
        objective.item_loss.terms = len(index)
        return weight.sum() * float(index.sum()) / len(index)

    loss, _ = Accumulation(objective, 1, False).gradient(np.arange(4), loss_of, [weight], draws, Asked())
    assert seen[0] == seen[1]
    assert float(loss) == pytest.approx(2 * 6 / 4)
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, torch.full((2,), 6 / 4))

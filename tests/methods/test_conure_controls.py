"""Negative controls of conure (spec 9): each harm is done on purpose, and is seen where nothing protects from it."""

import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from owned_chain import Learned, answers, asked, first, learn, same, weights
from torch import Tensor

from userrep.cli import main
from userrep.errors import ConfigError
from userrep.methods.conure import Conure, owned_weights
from userrep.methods.finetune import Full
from userrep.methods.method import Phase
from userrep.methods.owned import Owned
from userrep.methods.surgery import original_of
from userrep.models.encoder import Encoder


def frozen_by_gradient(self: Owned, weight: Tensor) -> Tensor:
    """Read weights as the published code does: what is owned gets no gradient, and lies where the optimiser is."""
    read = (self.owner > 0) & (self.owner <= self.task)
    if self.serving:
        return torch.where(read, weight, 0.0)
    mine = self.trains & (self.owner == self.task)
    taken = torch.where(read, torch.where(mine, weight, weight.detach()), 0.0)
    return taken if mine.any() else torch.where(self.trains, weight, weight.detach())


def multiplied(self: Owned, weight: Tensor) -> Tensor:
    """Mask by a product, as both published codes do."""
    read = (self.owner > 0) & (self.owner <= self.task)
    return weight * (read if self.serving else self.trains) + (0 if self.serving else self.constant)


@pytest.fixture(params=[True, False], ids=["protected", "unprotected"])
def protected(request: pytest.FixtureRequest) -> bool:
    """Ask for a harm to be done twice: to conure, and to what it protects from."""
    return bool(request.param)


Forward = Callable[[Owned, Tensor], Tensor]


def read_as(forward: Forward, protected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not protected:
        monkeypatch.setattr(Owned, "forward", forward)


def one_task() -> tuple[Encoder, Learned]:
    """Return an encoder that has learned task 1, and a copy of it as it was then."""
    encoder = tiny.encoder("nextitnet")
    return encoder, learn(encoder, Conure(), None)


def test_weight_decay_of_later_tasks_moves_nothing(protected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    read_as(frozen_by_gradient, protected, monkeypatch)
    encoder, one = one_task()
    two = learn(encoder, Conure(), "gender", weight_decay=5.0)
    assert same(answers(asked(one, two)), answers(one)) is protected
    for (_, old), (_, new) in zip(weights(one.encoder), weights(two.encoder), strict=True):
        assert (old != new).all()  # decay has reached every number that it could


def test_momentum_carried_over_all_phases_moves_nothing(protected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One optimiser through the retraining of task 1 and all of task 2, which the loop never has."""
    read_as(frozen_by_gradient, protected, monkeypatch)
    encoder, method, items = tiny.encoder("nextitnet"), Conure(), tiny.histories()
    method.adapt(encoder, "mean")
    optimizer = torch.optim.Adam([original_of(encoder, name)[1] for name, _ in owned_weights(encoder)], lr=0.01)

    def steps() -> None:
        for _ in range(3):
            optimizer.zero_grad(set_to_none=False)
            encoder(items).square().mean().backward()
            optimizer.step()

    done = []
    for _ in range(2):
        method = Conure()
        method.adapt(encoder, "mean")
        steps()
        method._prune(encoder)
        steps()
        method.finish(encoder)
        done.append(Learned(method.task, method, deepcopy(encoder).eval(), first(encoder)))
    assert same(answers(asked(done[0], done[1])), answers(done[0])) is protected


def test_a_broken_free_weight_reaches_no_task(protected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    read_as(multiplied, protected, monkeypatch)
    _, one = one_task()
    broken = deepcopy(one)
    for owned, weight in weights(broken.encoder):
        weight[owned.owner == 0] = float("nan")
    assert same(answers(asked(one, broken)), answers(one)) is protected


class LeavesNorms(Conure):
    """Conure that lets a later task train the norms that earlier tasks read."""

    def phases(self, encoder: Encoder) -> list[Phase]:
        return [Phase("train", ("*.norm.*",)), *super().phases(encoder)]


def test_a_norm_that_is_left_trainable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, one = one_task()
    with pytest.raises(ConfigError) as caught:
        learn(encoder, LeavesNorms(), "gender")
    name = "blocks.0.branch.first.norm.weight"
    assert caught.value.message == f"phase train of task 2 would train {name}, which is no task's own"
    monkeypatch.setattr(LeavesNorms, "check", Full.check)
    assert not same(answers(asked(one, learn(encoder, LeavesNorms(), "gender"))), answers(one))


def by_threshold(self: Owned, magnitudes: Tensor, count: int, keep: float) -> None:
    """Rank the whole tensor, owned elements as zero, and take what reaches the threshold: the authors' code."""
    ranked = torch.where(self.owner == 0, magnitudes, 0.0)
    self.owner[ranked >= ranked.flatten().sort(descending=True).values[count]] = self.task
    self._refresh()


def test_free_weights_that_are_all_zero_are_taken_in_number_and_no_owned_one_with_them(
    protected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, one = tiny.encoder("nextitnet"), None
    one = learn(encoder, Conure(free="zero"), None)
    if not protected:
        monkeypatch.setattr(Owned, "take", by_threshold)
    method = Conure(free="zero")
    method.adapt(encoder, "mean+token")
    method._prune(encoder)  # nothing was trained: all that is free is zero still
    method.finish(encoder)
    two = Learned(2, method, encoder.eval(), one.objective)
    counts = {int((owned.owner == 2).sum()) for owned, _ in weights(encoder)}
    assert counts == ({int(0.21 * 768)} if protected else {768})
    assert same(answers(asked(one, two)), answers(one)) is protected


@pytest.mark.parametrize(("was", "now", "harm"), [(1, 2, True), (1, 0, True), (2, 1, True), (0, 1, False)])
def test_an_edited_owner_changes_what_is_served_or_reads_zero(was: int, now: int, harm: bool) -> None:
    encoder, one = one_task()
    two = learn(encoder, Conure(), "gender")
    owned, _ = next(weights(two.encoder))
    places = (owned.owner == was).nonzero()
    place = max(places.tolist(), key=lambda at: float(owned.kept[tuple(at)].abs()))
    owned.owner[tuple(place)] = now
    assert same(answers(asked(one, two)), answers(one)) is not harm


SMALL = ("model.width=8", "model.dilations=[1]", "trainer.batch_size=128", "trainer.epochs=1", "protocol.events=chain")
KERNEL = "192 weights of blocks.0.branch.first.op.weight"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, prepared_data_dir: Path) -> Path:
    """A folder with a pre-trained run, `base`, and task 1 made of it, `one`; for copying."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        pretrain = ("pretrain", "dataset=synthetic", *SMALL, "--run", "base")
        prune = ("prune", "base", "--method", "conure", "method.reserve_for=2", "trainer.epochs=1", "--run", "one")
        for words in (pretrain, prune):
            with pytest.raises(SystemExit) as ended:
                main([*words, "--data-dir", str(prepared_data_dir)])
            assert not ended.value.code
    return folder


@pytest.fixture
def refused(userrep: Any, made: Path, workplace: Path, prepared_data_dir: Path) -> Callable[..., Any]:
    """Run a verb that must end with one line of cause and one of remedy, and leave no run behind."""
    for name in ("base", "one"):
        shutil.copytree(made / name, workplace / name)

    def run(*words: str) -> dict[str, str]:
        told = userrep(*words, "--data-dir", str(prepared_data_dir), "--run", "new", "--json")
        assert told.code == 2, told.err
        assert not list(workplace.glob("new/*.safetensors"))
        error: dict[str, str] = told.error
        assert "\n" not in error["message"] + error["hint"]
        return error

    return run


PRUNE, ADD = ("prune", "base", "--method", "conure"), ("transfer", "--method", "conure", "task=gender", "--from")


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ((*PRUNE, "--keep", "1"), "keep share is 1.0", "give a share of the free weights in (0, 1)"),
        ((*PRUNE, "--keep", "-0.1"), "keep share is -0.1", "give a share of the free weights in (0, 1)"),
        ((*PRUNE, "--keep", "0.999"), f"with method.keep=0.999 the {KERNEL} are enough for 1 task: "
         "task 2 would own none", "give a smaller method.keep, a wider encoder, or method.dense_last=true for"),
        ((*PRUNE, "--keep", "0.001"), f"with method.keep=0.001 the {KERNEL} are enough for 0 tasks: "
         "task 1 would own none", "give a smaller"),
        ((*PRUNE, "--keep", "0.3", "method.reserve_for=4"), "method has both keep and reserve_for", "give one of"),
        ((*PRUNE, "method.reserve_for=1"), "method.reserve_for is 1", "plan for 2 to 255 tasks"),
        ((*PRUNE, "method.reserve_for=200"), "method.reserve_for=200, and blocks.0.branch.first.op.weight has 192 "
         "weights: task 1 would own none", "give a smaller method.reserve_for"),
        ((*PRUNE, "method.vectors=mine"), "method.vectors is 'mine'", "choose from shared, own"),
        ((*PRUNE, "method.free=drop"), "method.free is 'drop'", "choose from keep, zero, reinitialise"),
        ((*PRUNE, "method.count=round"), "method.count is 'round'", "choose from floor, official"),
        ((*PRUNE, "method.retrain_epochs=0"), "method.retrain_epochs is 0", "give a number of at least 1, or null"),
        ((*PRUNE, "method.dense_last=true"), "method.dense_last=true for task 1 leaves no free weight for another",
         "it is for the last task of a chain"),
        ((*PRUNE, "method.table=true", "method.table_rank=2"), "method has both table and table_rank", "not both"),
        (("prune", "one", "--method", "conure"), "base one has 1 task(s) of conure already",
         "add a task: userrep transfer --method conure --from one task=..."),
        ((*ADD, "base"), "base base has no task of conure: all its weights are free",
         "make it task 1 first: userrep prune base --method conure"),
        ((*ADD, "one", "method.table_rank=2"), "phase train of task 2 would train stem.table.low.weight, "
         "which is no task's own", "leave it frozen: no table_rank, stem_patch or task.history=both after task 1"),
        ((*ADD, "one", "method.table=true"), "stem.table.weight has no owners, and task 2 would own weights that "
         "earlier tasks read", "give method.table and model as the chain began"),
        ((*ADD, "one", "method.vectors=own"), "method.vectors is own, and base one was made with shared",
         "give method.vectors=shared: "),
        ((*ADD, "one", "method.keep=0.9999"), f"with method.keep=0.9999 the {KERNEL} are enough for 2 tasks: "
         "task 3 would own none", "method.dense_last=true for the last task"),
    ],
)  # fmt: skip
def test_a_chain_that_cannot_be_is_refused_in_a_line(
    refused: Callable[..., dict[str, str]], words: tuple[str, ...], message: str, hint: str
) -> None:
    error = refused(*words)
    assert error["message"].startswith(message)
    assert hint in error["hint"]


def test_no_task_follows_the_last_that_was_planned(
    refused: Callable[..., dict[str, str]], userrep: Any, prepared_data_dir: Path
) -> None:
    cut = ("protocol.events=chain", "task.until=cut")
    words = (*ADD, "one", *cut, "method.reserve_for=2", "trainer.epochs=1", "--run", "two")
    told = userrep(*words, "--data-dir", str(prepared_data_dir), "--json")
    assert told.code == 0, told.err
    error = refused("transfer", "--method", "conure", "task=age", "--from", "two", *cut, "method.reserve_for=2")
    assert error["message"] == "method.reserve_for plans 2 tasks, and this would be task 3"
    assert "owned weights cannot be given back" in error["hint"]

"""Owned weights: who gets which, how they are read in each mode, how they are loaded, what they weigh on disk."""

from pathlib import Path

import pytest
import torch
from owned_chain import weights
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.utils import parametrize

from userrep.methods.conure import Conure, owned_weights
from userrep.methods.owned import Owned
from userrep.methods.prune import MagnitudePrune
from userrep.methods.surgery import flatten, weight_of
from userrep.models.nextitnet import NextItNet
from userrep.training.weights import load_weights, save_weights

SHARES = {1: 58_982, 2: 41_287, 3: 28_901, 4: 20_230, 5: 14_161, 6: 9_913}  # spec 1.4, of 3 x 256 x 256


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def taken_by_hand(owner: Tensor, magnitudes: Tensor, count: int, task: int) -> Tensor:
    """Give away one element after another: the largest that is free, the first of equal ones."""
    owners, sizes = owner.flatten().tolist(), magnitudes.flatten().tolist()
    for _ in range(count):
        best = None
        for place, size in enumerate(sizes):
            fine = owners[place] == 0 and size == size and size != float("inf")
            if fine and (best is None or size > sizes[best]):
                best = place
        if best is not None:
            owners[best] = task
    return torch.tensor(owners, dtype=torch.uint8).view_as(owner)


@pytest.mark.parametrize("kind", ["drawn", "ties", "zeros", "broken", "few"])
@pytest.mark.parametrize("count", [1, 7, 20])
def test_a_task_takes_what_a_loop_over_the_elements_takes(kind: str, count: int) -> None:
    sizes = drawn(5, 4, 3).abs()
    if kind == "ties":
        sizes = (sizes * 2).round()
    if kind == "zeros":  # free weights that were set to zero: all alike, and no larger than an owned one reads
        sizes = torch.zeros(5, 4, 3)
    if kind == "broken":
        sizes.view(-1)[::4], sizes.view(-1)[1::7] = float("nan"), float("inf")
    owned = Owned(sizes)
    owned.owner.copy_((drawn(5, 4, 3, seed=1) > (1.2 if kind == "few" else 0.0)) * 1)
    if kind == "few":
        owned.owner.copy_(1 - owned.owner)  # fewer are free than are asked for
    before = owned.owner.clone()
    owned.open(2)
    owned.take(sizes, count, 0.3)
    assert torch.equal(owned.owner, taken_by_hand(before, sizes, count, 2))
    assert torch.equal(owned.owner[before > 0], before[before > 0])
    if kind in ("drawn", "ties", "zeros"):
        assert int((owned.owner == 2).sum()) == count


@pytest.mark.parametrize(("count", "more"), [("floor", 0), ("official", 1)])
def test_six_tasks_own_what_the_table_of_the_paper_s_code_says(count: str, more: int) -> None:
    encoder, free = NextItNet(3, 256, [1]), 1.0
    for task, size in SHARES.items():
        method = Conure(keep=0.3, count=count)
        method.adapt(encoder, "last")
        next(phase for phase in method.phases(encoder) if phase.name == "prune").begin(encoder)
        method.finish(encoder)
        free *= 0.7
        for owned, weight in weights(encoder):
            assert weight.shape == (256, 256, 3)
            assert int((owned.owner == task).sum()) == size + more
            assert float(owned.free) == pytest.approx(free, abs=1e-12)
            assert int((owned.owner == 0).sum()) == pytest.approx(free * weight.numel(), abs=7)
    assert [int((owned.owner == 0).sum()) for owned, _ in weights(encoder)] == [23_134 - 6 * more] * 2


@pytest.fixture
def owned() -> Owned:
    """Four weights: of task 1, of task 2, free, free."""
    made = Owned(torch.zeros(4))
    made.owner.copy_(torch.tensor([1, 2, 0, 0]))
    made.kept.copy_(torch.tensor([10.0, 20.0, 0.0, 0.0]))
    return made


NAN = float("nan")


def test_open_reads_all_and_trains_what_is_free(owned: Owned) -> None:
    owned.open(3)
    weight = torch.tensor([NAN, NAN, 3.0, 4.0], requires_grad=True)
    read = owned(weight)
    assert read.tolist() == [10, 20, 3, 4]
    read.sum().backward()
    assert weight.grad.tolist() == [0, 0, 1, 1]


def test_taken_reads_what_has_an_owner_and_trains_the_new_one_s(owned: Owned) -> None:
    owned.open(3)
    owned.take(torch.tensor([9.0, 9.0, 1.0, 2.0]), 1, 0.5)
    weight = torch.tensor([NAN, NAN, NAN, 4.0], requires_grad=True)
    read = owned(weight)
    assert read.tolist() == [10, 20, 0, 4]
    (read * NAN).sum().backward()  # even a gradient that is no number stays away from what is owned
    assert weight.grad[:3].tolist() == [0, 0, 0]
    assert bool(weight.grad[3].isnan())


@pytest.mark.parametrize(("task", "expected"), [(1, [10, 0, 0, 0]), (2, [10, 20, 0, 0]), (3, [10, 20, 0, 4])])
def test_a_task_is_served_by_the_owners_up_to_it(owned: Owned, task: int, expected: list[float]) -> None:
    owned.open(3)
    owned.take(torch.tensor([9.0, 9.0, 1.0, 2.0]), 1, 0.5)
    owned.settle(torch.tensor([NAN, NAN, 3.0, 4.0]))
    assert owned(torch.full((4,), NAN)).tolist() == [10, 20, 0, 4]
    owned.serve(task)
    read = owned(torch.full((4,), NAN, requires_grad=True))
    assert read.tolist() == expected
    assert not read.requires_grad
    assert owned.last() == 3


def test_a_broken_free_weight_is_owned_by_nobody_even_by_the_task_that_takes_all(owned: Owned) -> None:
    owned.open(3)
    owned.take(torch.tensor([9.0, 9.0, NAN, 2.0]), 4, 1.0)
    assert owned.owner.tolist() == [1, 2, 0, 3]
    assert float(owned.free) == 0


class OneWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0, 4.0]))


def one_weight(task: int) -> tuple[OneWeight, Owned]:
    """A weight in which tasks before `task` own an element each, the largest that was free; `task` is open."""
    module, owned = OneWeight(), Owned(torch.zeros(4))
    parametrize.register_parametrization(module, "weight", owned)
    for earlier in range(1, task):
        owned.open(earlier)
        owned.take(original(module).abs(), 1, 0.25)
        owned.settle(original(module))
    owned.open(task)
    return module, owned


def original(module: OneWeight) -> Tensor:
    return module.parametrizations["weight"].original.detach()


@pytest.mark.parametrize(
    ("mode", "file", "read"),
    [
        ("open", 2, [1, 2, 3, 4]),  # a checkpoint of the training of task 2
        ("open", 3, [0, 0, 3, 4]),  # task 2 done: it is whole, and served
        ("taken", 3, [0, 0, 3, 4]),  # a checkpoint of its retraining: it still trains
        ("serving", 4, [0, 0, 0, 4]),  # a later encoder that answers for task 1
    ],
)
def test_a_state_is_read_as_its_owners_say(mode: str, file: int, read: list[float]) -> None:
    module, owned = one_weight(2)
    if mode == "taken":
        owned.take(original(module).abs(), 1, 0.25)
    if mode == "serving":
        owned.serve(1)
    stored = one_weight(file)[0].state_dict()
    module.load_state_dict(stored)
    assert module.weight.tolist() == read
    assert module.weight.requires_grad is (mode == "taken" or (mode, file) == ("open", 2))
    assert owned.serving is ((mode, file) in (("open", 3), ("serving", 4)))


def test_a_flattened_weight_is_the_one_that_is_served() -> None:
    encoder, method = NextItNet(5, 8, [1]), Conure(keep=0.25)
    method.adapt(encoder, "last")
    method._prune(encoder)
    method.finish(encoder)
    name = next(owned_weights(encoder))[0]
    served = weight_of(encoder, name).clone()
    flat = weight_of(flatten(encoder), name)
    assert torch.equal(flat, served)
    assert int((flat != 0).sum()) == int(0.25 * flat.numel())


def test_the_owner_map_is_one_byte_a_weight_on_disk(tmp_path: Path) -> None:
    encoder, method = NextItNet(5, 16, [1]), Conure()
    method.adapt(encoder, "last")
    method._prune(encoder)
    method.finish(encoder)
    save_weights(tmp_path / "delta.safetensors", encoder, nn.Module())
    with safe_open(tmp_path / "delta.safetensors", "pt") as file:
        names = list(file.keys())
        maps = [name for name in names if name.endswith(".owner")]
        assert len(maps) == 2
        for name in maps:
            assert file.get_slice(name).get_dtype() == "U8"
            assert file.get_slice(name).get_shape() == [16, 16, 3]
        assert not [name for name in names if name.endswith((".trains", ".constant"))]
    again = NextItNet(5, 16, [1])
    Conure().adapt(again, "last")
    load_weights(tmp_path / "delta.safetensors", again, None)
    assert all(torch.equal(weight_of(again, n), weight_of(encoder, n)) for n, _ in owned_weights(encoder))


def test_what_a_pruned_base_has_lost_stays_lost() -> None:
    encoder, prune, method = NextItNet(5, 8, [1]), MagnitudePrune(0.5), Conure(keep=0.8)
    prune.adapt(encoder, "last")
    prune.prune(encoder)
    gone = {name: weight_of(encoder, name) == 0 for name in ("blocks.0.branch.first.op.weight",)}
    method.adapt(encoder, "last")
    method._prune(encoder)
    trained = {name: weight_of(encoder, name).detach().clone() for name in gone}
    method.finish(encoder)
    for name, lost in gone.items():
        assert torch.equal(weight_of(encoder, name), trained[name])
        assert weight_of(encoder, name)[lost].abs().sum() == 0

"""Packed rows against padded steps: where they lie, what a convolution makes of them, when a network takes them."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn.utils import parametrize

from userrep.methods.surgery import set_readout
from userrep.models import encoder as encoders
from userrep.models.bert4rec import Bert4Rec
from userrep.models.encoder import Encoder
from userrep.models.grec import GRec
from userrep.models.gru4rec import Gru4Rec
from userrep.models.nextitnet import DilatedConv, NextItNet
from userrep.models.packed_conv import convolve
from userrep.models.packing import Packing, packed, packing_of, padded, select
from userrep.models.sasrec import SasRec
from userrep.models.sublayer import Sublayer
from userrep.models.transformer import Transformer

LENGTHS = [(9, 9, 9), (4, 9, 1, 4), (2, 0, 7), (1, 1)]
SHAPES = [(size, rate, causal) for size in (1, 2, 3, 4) for rate in (1, 2, 3, 7, 20) for causal in (True, False)]
STEPS = 9
ORDERS = ("post", "pre", "norm_first")
BACKBONES = [
    *(partial(NextItNet, 40, 8, [1, 4, 8], order=order, final_norm=True) for order in ORDERS),
    partial(GRec, 40, 8, [1, 4]),
    *(partial(kind, 40, 8, heads=2, norm_first=first) for kind in (SasRec, Bert4Rec) for first in (True, False)),
    partial(Transformer, 40, 8, heads=2),
]


def kept(lengths: tuple[int, ...]) -> Tensor:
    return (torch.arange(STEPS) >= STEPS - torch.tensor(lengths).unsqueeze(1)).unsqueeze(-1).float()  # (B, T, 1)


def made(kernel_size: int, rate: int, causal: bool = True, width: int = 6) -> DilatedConv:
    torch.manual_seed(0)
    conv = DilatedConv(width, kernel_size, rate, causal)
    for parameter in conv.parameters():
        nn.init.normal_(parameter, std=0.3)
    return conv


def by_rows(conv: DilatedConv, states: Tensor, keep: Tensor, packing: Packing) -> Tensor:
    return packing.unpack(conv(packing.pack(states), packing.keep(keep)))


def by_steps(conv: DilatedConv, states: Tensor, keep: Tensor, packing: Packing) -> Tensor:
    return conv(states, keep) * keep


@pytest.mark.parametrize("lengths", LENGTHS)
def test_rows_are_the_events_by_place_and_the_longest_history_first(lengths: tuple[int, ...]) -> None:
    packing = Packing(torch.tensor(lengths), STEPS)
    names = torch.tensor([[10 * user + step for step in range(STEPS)] for user in range(len(lengths))]).unsqueeze(-1)
    order = sorted(range(len(lengths)), key=lambda user: -lengths[user])
    expected = [
        10 * user + STEPS - lengths[user] + place for place in range(STEPS) for user in order if place < lengths[user]
    ]
    rows = packing.pack(names)
    assert rows.flatten().tolist() == expected
    assert torch.equal(packing.unpack(rows), names * kept(lengths).long())
    assert packing.keep(kept(lengths)).shape == (1, sum(lengths), 1)
    users = torch.arange(len(lengths)).reshape(-1, 1, 1)
    assert packing.pack(users).flatten().tolist() == [name // 10 for name in expected]


@pytest.mark.parametrize("chosen", [(True, False, True, True), (False, True, False, False), (True, True, True, True)])
def test_some_users_of_packed_rows_are_packed_rows_themselves(chosen: tuple[bool, ...]) -> None:
    users, keep = torch.tensor(chosen), kept((4, 9, 1, 4))
    states = torch.randn(4, STEPS, 3)
    packing = Packing(torch.tensor((4, 9, 1, 4)), STEPS)
    dim, steps, real = select(users, keep)
    assert dim == 0
    assert torch.equal(states.index_select(dim, steps), states[users])
    assert torch.equal(real, keep[users])
    dim, rows, real = select(users, packing.keep(keep))
    own = packing_of(real)
    assert own is not None
    assert torch.equal(packing.pack(states).index_select(dim, rows), own.pack(states[users]))


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("shift", [0, 1, 3, 8, 9, 40])
def test_pairs_are_all_events_with_another_so_many_places_later(lengths: tuple[int, ...], shift: int) -> None:
    packing = Packing(torch.tensor(lengths), STEPS)
    events = packing.pack(torch.tensor([[[user, step] for step in range(STEPS)] for user in range(len(lengths))]))[0]
    earlier, later = ([tuple(one) for one in events[which].tolist()] for which in packing.pairs(shift))
    expected = {(user, step) for user, length in enumerate(lengths) for step in range(STEPS - length, STEPS - shift)}
    assert set(earlier) == expected
    assert len(earlier) == len(expected)
    assert later == [(user, step + shift) for user, step in earlier]


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize(("kernel_size", "rate", "causal"), SHAPES)
def test_values_and_gradients_equal_those_of_the_2d_convolution(
    kernel_size: int, rate: int, causal: bool, lengths: tuple[int, ...]
) -> None:
    conv, keep, packing = made(kernel_size, rate, causal), kept(lengths), Packing(torch.tensor(lengths), STEPS)
    states, upstream, found = torch.randn(len(lengths), STEPS, 6) * keep, torch.randn(len(lengths), STEPS, 6), []
    for path in (by_rows, by_steps):
        leaf = states.clone().requires_grad_()
        conv.zero_grad()
        out = path(conv, leaf, keep, packing)
        out.backward(upstream)
        found.append([out.detach(), leaf.grad * keep, conv.weight.grad.clone(), conv.bias.grad.clone()])
        with torch.no_grad():
            assert torch.equal(path(conv, states, keep, packing), out)
    torch.testing.assert_close(*found, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("lengths", [(5, 3, 0), (4, 4)])
@pytest.mark.parametrize(("kernel_size", "rate", "causal"), [(3, 2, True), (3, 2, False), (2, 1, False), (3, 9, True)])
def test_its_gradients_are_those_of_its_values(
    kernel_size: int, rate: int, causal: bool, lengths: tuple[int, ...]
) -> None:
    conv, packing = made(kernel_size, rate, causal, width=3), Packing(torch.tensor(lengths), STEPS)
    rows = torch.randn(1, sum(lengths), 3)
    inputs = [tensor.detach().double().requires_grad_() for tensor in (rows, conv.weight, conv.bias)]
    check = lambda *tensors: convolve(*tensors, conv.shifts, packing)  # noqa: E731
    assert torch.autograd.gradcheck(check, inputs)
    assert torch.autograd.gradgradcheck(check, inputs)


@pytest.mark.parametrize("frozen", ["rows", "weight", "bias"])
def test_what_needs_no_gradient_gets_none(frozen: str) -> None:
    conv, packing = made(3, 4), Packing(torch.tensor([5, 2]), STEPS)
    inputs = {"rows": torch.randn(1, 7, 6), "weight": conv.weight.detach(), "bias": conv.bias.detach()}
    for name, tensor in inputs.items():
        tensor.requires_grad_(name != frozen)
    convolve(*inputs.values(), conv.shifts, packing).sum().backward()
    assert {name for name, tensor in inputs.items() if tensor.grad is None} == {frozen}


def test_a_weight_that_a_method_makes_gets_its_gradient() -> None:
    conv, keep, packing = made(3, 2), kept((7, 4)), Packing(torch.tensor([7, 4]), STEPS)
    states = torch.randn(2, STEPS, 6)

    class Halved(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight / 2

    by_rows(conv, states, keep, packing).square().sum().backward()
    weight, whole = conv.weight.detach().clone(), conv.weight.grad.clone()
    parametrize.register_parametrization(conv, "weight", Halved())
    original = conv.parametrizations.weight.original
    conv.zero_grad()
    with torch.no_grad():
        original.copy_(2 * weight)
    by_rows(conv, states, keep, packing).square().sum().backward()
    torch.testing.assert_close(original.grad, whole / 2)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("make", BACKBONES)
@pytest.mark.parametrize("readout", ["last", "token"])
def test_a_network_gives_the_same_states_and_gradients_either_way(
    make: Callable[[], Encoder], readout: str, lengths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    encoder = make()
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.3)  # biases too, which would show where padding leaked
    set_readout(encoder, readout)
    items = torch.randint(2, 40, (len(lengths), STEPS)) * kept(lengths).squeeze(-1).long()
    taken, found = [], []
    for way in (lambda *given: Packing(given[2].squeeze(-1).sum(dim=1).long(), given[1].shape[1]), lambda *_: None):
        monkeypatch.setattr(encoders, "packed", lambda *given, way=way: taken.append(way(*given)) or taken[-1])
        encoder.zero_grad()
        states, users = encoder(items), encoder.user(items)
        (states.square().sum() + (users * torch.linspace(-1, 1, 8)).sum()).backward()
        gradients = [parameter.grad for parameter in encoder.parameters() if parameter.grad is not None]
        found.append([states.detach(), users.detach(), *gradients])
    assert [one is not None for one in taken] == [True, True, False, False]
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


class Taps(Sublayer):
    packs = True


def of(shifts: tuple[int, ...], lengths: list[int], steps: int, **states: object) -> Packing | None:
    keep = (torch.arange(steps) >= steps - torch.tensor(lengths).unsqueeze(1)).unsqueeze(-1).float()
    block = Taps()
    block.shifts = shifts
    return packed([block], torch.zeros(len(lengths), steps, 4, **states), keep)


def test_rows_are_taken_where_enough_taps_would_read_padding() -> None:
    shifts = (8, 4, 0)
    assert of(shifts, [20, 16], 20)  # rows of taps: 12 + 16 + 20 and 8 + 12 + 16 of 120: 30 % saved
    assert not of(shifts, [80, 79], 80)
    assert of((0,), [10, 7], 10)  # 15 %
    assert not of((0,), [10, 8], 10)
    assert not of((0,), [10, 10], 10)
    assert of((0, 1), [80, 80], 80)  # none is shorter than another
    with torch.no_grad():
        assert of(shifts, [20, 15], 20)
        assert of((0,), [8, 6], 10)  # 30 %
        assert not of((0,), [8, 7], 10)
        assert not of((0, 1), [80, 80], 80)
    assert of(shifts, [3, 3], 20)  # no more rows than there are
    assert not of(shifts, [0, 0], 20)
    assert not of(shifts, [], 20)
    assert of((), [3, 9], 20)  # without taps, each step is read by itself


def test_every_block_must_know_packed_rows() -> None:
    encoder, items = Gru4Rec(40, 8), torch.tensor([[0, 0, 0, 2, 3], [2, 3, 4, 5, 6]])
    stem, keep = encoder.stemmed(items)
    assert packed(encoder.blocks, stem, keep) is None
    taps = NextItNet(40, 8, [1, 4])
    assert packed(taps.blocks, stem, keep)
    assert packed([*taps.blocks, Sublayer()], stem, keep) is None
    taps.blocks[1].branch.second.op = Around(taps.blocks[1].branch.second.op)
    assert packed(taps.blocks, stem, keep) is None


class Around(Sublayer):
    """What a method may put around any sublayer, and what reads along time without a word on packed rows."""

    def __init__(self, inner: Sublayer) -> None:
        super().__init__()
        self.inner = inner


def test_a_hole_in_a_history_is_a_step_that_taps_count() -> None:
    encoder = NextItNet(40, 8, [1, 4])
    for items, there in (([[0, 0, 0, 2, 3]], True), ([[0, 2, 0, 2, 3]], False), ([[0, 0, 2, 3, 0]], False)):
        assert (packed(encoder.blocks, *encoder.stemmed(torch.tensor(items))) is not None) is there


def test_autocast_other_types_compiled_blocks_and_tracing_take_the_2d_convolution() -> None:
    lengths, shifts = [2, 9], (4, 2, 0)
    assert of(shifts, lengths, 9)
    assert not of(shifts, lengths, 9, dtype=torch.bfloat16)
    assert not of(shifts, lengths, 9, device="meta")
    encoder = NextItNet(40, 8, [1, 4])
    items = torch.tensor([[0, 0, 0, 2, 3], [2, 3, 4, 5, 6]])
    stem, keep = encoder.stemmed(items)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not of(shifts, lengths, 9)
        assert made(3, 1)(stem[..., :6], keep).dtype == torch.bfloat16
    exported = torch.export.export(encoder, (items,))
    assert any("conv2d" in str(node.target) for node in exported.graph.nodes)
    encoder.blocks[1].compile(backend="eager")
    assert packed(encoder.blocks, stem, keep) is None


def test_what_is_counted_for_another_device_stays_padded() -> None:
    with padded():
        assert not of((4, 2, 0), [2, 9], 9)
    assert of((4, 2, 0), [2, 9], 9)


def test_function_transforms_go_through() -> None:
    encoder, items = NextItNet(40, 8, [1, 4]), torch.tensor([[0, 0, 0, 2, 3], [2, 3, 4, 5, 6]])
    weights = {name: value.detach() for name, value in encoder.named_parameters()}

    def loss(weights: dict[str, Tensor]) -> Tensor:
        return functional_call(encoder, weights, (items,)).square().sum()

    encoder(items).square().sum().backward()
    name = "blocks.0.branch.second.op.weight"
    torch.testing.assert_close(grad(loss)(weights)[name], encoder.get_parameter(name).grad)


def test_steps_of_padded_histories_have_no_packing() -> None:
    assert packing_of(kept((3, 9))) is None
    packing = Packing(torch.tensor([3, 9]), STEPS)
    assert packing_of(packing.keep(kept((3, 9)))) is packing

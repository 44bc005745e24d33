"""The time-major convolution against the 2-d one beside it: values, gradients, where it is taken and where not."""

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn.utils import parametrize

from userrep.models.nextitnet import DilatedConv, NextItNet
from userrep.models.time_major import convolve, pays

SHAPES = [
    (kernel_size, rate, causal) for kernel_size in (1, 2, 3, 4) for rate in (1, 2, 3, 7, 20) for causal in (True, False)
]


def drawn(
    kernel_size: int, rate: int, causal: bool = True, width: int = 6, length: int = 9
) -> tuple[DilatedConv, Tensor]:
    torch.manual_seed(0)
    conv = DilatedConv(width, kernel_size, rate, causal)
    for parameter in conv.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return conv, torch.randn(5, length, width)


def fast(conv: DilatedConv, states: Tensor) -> Tensor:
    return convolve(states, conv.weight, conv.bias, conv.shifts)


@pytest.mark.parametrize(("kernel_size", "rate", "causal"), SHAPES)
def test_values_and_gradients_equal_those_of_the_2d_convolution(kernel_size: int, rate: int, causal: bool) -> None:
    conv, states = drawn(kernel_size, rate, causal)
    upstream, found = torch.randn(5, 9, 6), {}
    for path in (fast, DilatedConv.as_image):
        leaf = states.clone().requires_grad_()
        conv.zero_grad()
        out = path(conv, leaf)
        out.backward(upstream)
        found[path] = [out.detach(), leaf.grad, conv.weight.grad.clone(), conv.bias.grad.clone()]
        with torch.no_grad():
            assert torch.equal(path(conv, states), out)
    torch.testing.assert_close(*found.values(), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(("kernel_size", "rate", "causal"), [(3, 2, True), (3, 2, False), (2, 1, False), (3, 9, True)])
def test_its_gradients_are_those_of_its_values(kernel_size: int, rate: int, causal: bool) -> None:
    conv, states = drawn(kernel_size, rate, causal, width=3, length=5)
    inputs = [tensor.detach().double().requires_grad_() for tensor in (states[:2], conv.weight, conv.bias)]
    check = lambda *tensors: convolve(*tensors, conv.shifts)  # noqa: E731
    assert torch.autograd.gradcheck(check, inputs)
    assert torch.autograd.gradgradcheck(check, inputs)


@pytest.mark.parametrize("frozen", ["states", "weight", "bias"])
def test_what_needs_no_gradient_gets_none(frozen: str) -> None:
    conv, states = drawn(3, 4)
    inputs = {"states": states, "weight": conv.weight.detach(), "bias": conv.bias.detach()}
    for name, tensor in inputs.items():
        tensor.requires_grad_(name != frozen)
    convolve(*inputs.values(), conv.shifts).sum().backward()
    assert {name for name, tensor in inputs.items() if tensor.grad is None} == {frozen}


def test_it_is_taken_where_a_fifth_of_the_tap_rows_is_padding() -> None:
    conv = DilatedConv(6, 3, 4)  # taps read 8, 4 and 0 steps back: 12 rows of 60 are padding at T = 20
    assert pays(torch.randn(2, 20, 6), conv.shifts)
    assert not pays(torch.randn(2, 22, 6), conv.shifts)
    assert pays(torch.randn(2, 3, 6), conv.shifts)  # no more rows than there are
    assert not pays(torch.randn(2, 20, 6), DilatedConv(6, 1, 4).shifts)
    assert not pays(torch.randn(2, 0, 6), conv.shifts)


def test_autocast_other_types_and_tracing_take_the_2d_convolution() -> None:
    conv, states = drawn(3, 7)
    assert pays(states, conv.shifts)
    assert not pays(states.bfloat16(), conv.shifts)
    assert not pays(states.to("meta"), conv.shifts)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not pays(states, conv.shifts)
        assert conv(states, torch.ones(5, 9, 1)).dtype == torch.bfloat16
    exported = torch.export.export(conv, (states, torch.ones(5, 9, 1)))
    assert any("conv2d" in str(node.target) for node in exported.graph.nodes)


def test_a_weight_that_a_method_makes_gets_its_gradient() -> None:
    conv, states = drawn(3, 7)

    class Halved(torch.nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight / 2

    conv(states, torch.ones(5, 9, 1)).square().sum().backward()
    weight, whole = conv.weight.detach().clone(), conv.weight.grad.clone()
    parametrize.register_parametrization(conv, "weight", Halved())
    original = conv.parametrizations.weight.original
    conv.zero_grad()
    with torch.no_grad():
        original.copy_(2 * weight)
    conv(states, torch.ones(5, 9, 1)).square().sum().backward()
    torch.testing.assert_close(original.grad, whole / 2)


def test_function_transforms_go_through() -> None:
    conv, states = drawn(3, 7)
    weights, keep = {name: value.detach() for name, value in conv.named_parameters()}, torch.ones(5, 9, 1)

    def loss(weights: dict[str, Tensor], states: Tensor) -> Tensor:
        return functional_call(conv, weights, (states, keep)).square().sum()

    conv(states, keep).square().sum().backward()
    torch.testing.assert_close(grad(loss)(weights, states)["weight"], conv.weight.grad)
    each = vmap(grad(loss), in_dims=(None, 0))(weights, states.unsqueeze(1))  # a gradient for each sequence
    torch.testing.assert_close(each["weight"].sum(dim=0), conv.weight.grad)


def test_a_network_gives_the_same_states_and_gradients_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    encoder = NextItNet(40, 8, [1, 4, 8])
    items = torch.randint(2, 40, (4, 12))
    items[0, :7] = 0
    found = []
    for _ in range(2):
        encoder.zero_grad()
        states = encoder(items)
        (states * torch.linspace(-1, 1, 8)).sum().backward()
        found.append([states.detach(), *(parameter.grad.clone() for parameter in encoder.parameters())])
        monkeypatch.setattr("userrep.models.nextitnet.pays", lambda states, shifts: False)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)

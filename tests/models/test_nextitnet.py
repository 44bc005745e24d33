"""NextItNet against a loop over time, its reach, and its first weights."""

from functools import partial

import pytest
import torch

from userrep.errors import ConfigError
from userrep.models.nextitnet import DilatedConv, NextItBlock, NextItNet
from userrep.training.seed import seed_everything


@pytest.mark.parametrize("kernel_size", [1, 2, 3])
@pytest.mark.parametrize("rate", [1, 2, 5])
def test_a_convolution_equals_a_loop_over_time(kernel_size: int, rate: int) -> None:
    conv = DilatedConv(5, kernel_size, rate).double()
    torch.nn.init.normal_(conv.weight)
    torch.nn.init.normal_(conv.bias)
    states = torch.randn(2, 9, 5, dtype=torch.float64)
    found = conv(states, torch.ones(2, 9, 1))
    for step in range(9):
        wanted = conv.bias.expand(2, -1).clone()
        for tap in range(kernel_size):
            source = step - (kernel_size - 1 - tap) * rate
            if source >= 0:
                wanted = wanted + states[:, source] @ conv.weight[:, :, tap].t()
        torch.testing.assert_close(found[:, step], wanted)


@pytest.mark.parametrize(("dilations", "kernel_size"), [([1], 3), ([1, 4], 3), ([2, 3], 2)])
def test_the_last_state_reaches_back_as_far_as_the_dilations_say_and_no_further(
    dilations: list[int], kernel_size: int
) -> None:
    reach = 1 + sum(3 * rate * (kernel_size - 1) for rate in dilations)  # each block at `rate` and twice it
    encoder = NextItNet(50, 8, dilations, kernel_size).eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    items = torch.randint(2, 50, (1, reach + 3)).repeat(48, 1)
    before = encoder(items)[:, -1]
    for back, moves in ((reach - 1, True), (reach, False)):
        changed = items.clone()
        changed[:, -1 - back] = torch.arange(2, 50)  # all items: a ReLU may hide one or another
        assert torch.equal(encoder(changed)[:, -1], before) is not moves


def branch(order: str, norms: list[torch.nn.Module], convs: list[DilatedConv], states: torch.Tensor) -> torch.Tensor:
    """Apply a branch as its formula is written, without padding."""
    (n1, n2), (c1, c2) = norms, [partial(conv, keep=torch.ones(1)) for conv in convs]
    relu = torch.relu
    return {
        "post": lambda x: relu(n2(c2(relu(n1(c1(x)))))),
        "pre": lambda x: c2(relu(n2(c1(relu(n1(x)))))),
        "norm_first": lambda x: relu(c2(n2(relu(c1(n1(x)))))),
    }[order](states)


@pytest.mark.parametrize("order", ["post", "pre", "norm_first"])
def test_each_order_of_a_block_is_the_formula_it_is_named_after(order: str) -> None:
    block = NextItBlock(6, 3, 2, dropout=0.0, order=order).double()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    states, units = torch.randn(2, 9, 6, dtype=torch.float64), (block.branch.first, block.branch.second)
    wanted = states + branch(order, [unit.norm for unit in units], [unit.op for unit in units], states)
    torch.testing.assert_close(block(states, torch.ones(2, 9, 1, dtype=torch.float64)), wanted)
    assert units[1].op.rate == 2 * units[0].op.rate


def test_the_orders_have_weights_of_the_same_names_and_shapes() -> None:
    shapes = [
        {name: tensor.shape for name, tensor in NextItNet(20, 8, [1, 2], order=order).state_dict().items()}
        for order in ("post", "pre", "norm_first")
    ]
    assert shapes[0] == shapes[1] == shapes[2]
    with pytest.raises(ConfigError, match="order='before'"):
        NextItNet(20, 8, [1], order="before")


def test_kernels_start_unlike_each_other_and_within_two_deviations() -> None:
    seed_everything(0)
    encoder = NextItNet(500, 32, [1, 1])
    kernels = [p for name, p in encoder.named_parameters() if name.endswith("op.weight")]
    assert len(kernels) == 4
    for left in range(4):
        assert kernels[left].abs().max() <= 0.04
        assert kernels[left].std().item() == pytest.approx(0.0176, rel=0.1)  # 0.02, cut at two deviations
        for right in range(left):
            pair = torch.stack([kernels[left].flatten(), kernels[right].flatten()])
            assert abs(torch.corrcoef(pair)[0, 1]) < 0.1


def test_the_same_seed_starts_with_the_same_weights() -> None:
    states = []
    for _ in range(2):
        seed_everything(3)
        states.append(NextItNet(20, 8, [1]).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("wrong", [{"width": 0}, {"kernel_size": 0}, {"dilations": []}, {"dilations": [1, 0]}])
def test_a_shape_that_cannot_be_is_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="NextItNet has") as caught:
        NextItNet(20, **wrong)
    assert caught.value.hint

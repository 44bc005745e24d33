"""LoRA against products written out, on linear, convolution and recurrent kernels, alone and on a pruned base."""

import pytest
import torch
from torch import Tensor, nn

from userrep.errors import ConfigError
from userrep.methods.lora import LoRA, LowRank
from userrep.methods.prune import MagnitudePrune
from userrep.methods.surgery import Mask, change_of, flatten, kernels, matching, weight_of
from userrep.models.encoder import Block, Encoder, Final
from userrep.models.nextitnet import NextItNet
from userrep.models.stem import ItemStem

WIDTH = 8


def small() -> NextItNet:
    torch.manual_seed(0)
    encoder = NextItNet(20, WIDTH, [1, 2])
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.3)
    return encoder.eval()


class Recurrent(Block):
    """A GRU and a linear layer on it."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.linear = nn.GRU(WIDTH, WIDTH, batch_first=True), nn.Linear(WIDTH, WIDTH)

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        return states + self.linear(self.gru(states)[0]) * keep


def recurrent() -> Encoder:
    torch.manual_seed(0)
    stem = ItemStem(20, WIDTH)
    return Encoder(vocab_size=20, width=WIDTH, stem=stem, blocks=[Recurrent()], final=Final(WIDTH, False)).eval()


def adapted(encoder: Encoder, **options: object) -> tuple[Encoder, LoRA]:
    """Adapt, see that nothing changed, and give every change random weights."""
    method, before = LoRA(rank=2, **options), encoder(items())  # type: ignore[arg-type]
    method.adapt(encoder, "last")
    assert torch.equal(encoder(items()), before)
    torch.manual_seed(1)
    for parameter in nn.ModuleList(method.changes).parameters():
        nn.init.normal_(parameter, std=0.3)
    assert not torch.allclose(encoder(items()), before)
    return encoder, method


def items() -> Tensor:
    return torch.randint(2, 20, (3, 6), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("make", [small, recurrent])
def test_each_kernel_is_its_base_plus_the_scaled_product_of_its_factors(make: type) -> None:
    plain, (encoder, method) = make(), adapted(make(), alpha=3.0)
    names = kernels(plain)
    assert names == kernels(encoder)
    for name, change in zip(names, method.changes, strict=True):
        assert isinstance(change, LowRank)
        wanted = plain.get_parameter(name).flatten(1) + 1.5 * change.up @ change.down
        torch.testing.assert_close(weight_of(encoder, name).flatten(1), wanted)


@pytest.mark.parametrize("make", [small, recurrent])
def test_it_merges_into_plain_weights_that_give_the_same_states(make: type) -> None:
    encoder, _ = adapted(make())
    before = encoder(items())
    flat = flatten(encoder)
    torch.testing.assert_close(flat(items()), before, rtol=0, atol=1e-6)
    assert flat.state_dict().keys() == make().state_dict().keys()


@pytest.mark.parametrize("rank", [1, 4])
def test_the_count_is_that_of_the_formula(rank: int) -> None:
    kernel_size, convolutions = 3, 4
    encoder, method = small(), LoRA(rank=rank)
    method.adapt(encoder, "last")
    chosen = matching(encoder, method.phases(encoder)[0].trainable)
    trained = sum(encoder.get_parameter(name).numel() for name in chosen)
    assert trained == convolutions * rank * (WIDTH + kernel_size * WIDTH)


def test_it_can_be_kept_to_some_kernels() -> None:
    encoder, method = adapted(small(), which=["blocks.1.*"])
    assert len(method.changes) == 2
    assert all(name.startswith("blocks.1.") for name in matching(encoder, method.phases(encoder)[0].trainable))
    table = LoRA(rank=2, which=["*second*"], table_rank=3)
    table.adapt(encoder, "last")
    assert "stem.table.low.weight" in matching(encoder, table.phases(encoder)[0].trainable)


def test_a_second_task_changes_what_the_first_left_and_trains_only_its_own() -> None:
    encoder, first = adapted(small())
    encoder, second = adapted(encoder)
    chosen = {id(encoder.get_parameter(name)) for name in matching(encoder, second.phases(encoder)[0].trainable)}
    assert chosen == {id(parameter) for change in second.changes for parameter in change.parameters()}
    assert not chosen & {id(parameter) for change in first.changes for parameter in change.parameters()}


@pytest.mark.parametrize("pruned_first", [True, False])
def test_masks_and_low_rank_changes_stack_either_way(pruned_first: bool) -> None:
    encoder, prune = small(), MagnitudePrune(0.5)
    if not pruned_first:
        adapted(encoder)
    prune.adapt(encoder, "last")
    prune.prune(encoder)
    if pruned_first:
        adapted(encoder)
    for name in kernels(small()):
        held = change_of(encoder, name, Mask)
        assert held is not None
        hidden = weight_of(encoder, name)[~held.mask]
        assert bool((hidden == 0).all()) is not pruned_first  # a change of a pruned base is dense
    with torch.no_grad():
        before = encoder(items())
        torch.testing.assert_close(flatten(encoder)(items()), before, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"rank": 0}, "rank=0"),
        ({"rank": 9}, "8 x 24"),
        ({"alpha": 0.0}, "alpha=0.0"),
        ({"which": []}, "empty"),
        ({"which": ["*.attention.*"]}, "no kernel of the encoder matches"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(options: dict, part: str) -> None:
    with pytest.raises(ConfigError, match=r".") as caught:
        LoRA(**options).adapt(small(), "last")
    assert part in caught.value.message
    assert caught.value.hint

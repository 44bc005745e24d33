"""The methods of very few parameters against sums written out: BitFit, IA3, a patch on the stem."""

import pytest
import torch
from torch import Tensor, nn

from userrep.errors import ConfigError
from userrep.methods.bitfit import BitFit
from userrep.methods.ia3 import IA3
from userrep.methods.method import Method
from userrep.methods.patch import count_parameters
from userrep.methods.stem import Stem
from userrep.methods.surgery import matching
from userrep.models.encoder import Block, Encoder, Final
from userrep.models.nextitnet import NextItNet
from userrep.models.stem import ItemStem

WIDTH, BLOCKS = 8, 2


def small() -> NextItNet:
    torch.manual_seed(0)
    encoder = NextItNet(20, WIDTH, [1] * BLOCKS, final_norm=True)
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.3)
    return encoder.eval()


def items() -> Tensor:
    return torch.randint(2, 20, (3, 6), generator=torch.Generator().manual_seed(0))


def chosen(encoder: Encoder, method: Method) -> list[str]:
    method.adapt(encoder, "last")
    return matching(encoder, method.phases(encoder)[0].trainable)


def test_bitfit_trains_every_bias_and_norm_and_no_matrix() -> None:
    encoder = small()
    names = chosen(encoder, BitFit())
    assert set(names) == {name for name, _ in encoder.named_parameters() if "bias" in name or "norm" in name}
    convolution, norm = WIDTH, 2 * WIDTH
    assert sum(encoder.get_parameter(name).numel() for name in names) == BLOCKS * 2 * (convolution + norm) + norm


class Plain(Block):
    """A linear map without a bias, behind a gain where there is a norm."""

    def __init__(self, norm: bool) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(WIDTH) if norm else nn.Identity()
        self.linear = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        return states + self.linear(self.norm(states)) * keep


def without_biases(norm: bool) -> Encoder:
    stem = ItemStem(20, WIDTH)
    return Encoder(vocab_size=20, width=WIDTH, stem=stem, blocks=[Plain(norm)], final=Final(WIDTH, False)).eval()


def test_bitfit_trains_the_gains_where_there_are_no_biases_and_is_refused_where_there_are_none_either() -> None:
    assert chosen(without_biases(norm=True), BitFit()) == ["blocks.0.norm.weight"]
    with pytest.raises(ConfigError, match="neither biases nor norms") as caught:
        chosen(without_biases(norm=False), BitFit())
    assert caught.value.hint


@pytest.mark.parametrize("role", ["op", "unit", "branch"])
def test_a_scale_goes_behind_each_sublayer_and_starts_as_one(role: str) -> None:
    plain, encoder, method = small(), small(), IA3(role=role)
    names = chosen(encoder, method)
    assert torch.equal(encoder(items()), plain(items()))
    per_block = {"op": 2, "unit": 2, "branch": 1}[role]
    assert [encoder.get_parameter(name).shape for name in names] == [(WIDTH,)] * (BLOCKS * per_block)
    for scale in method.scales:
        nn.init.normal_(scale)
    torch.testing.assert_close(encoder(items()), by_hand(role, plain, [scale.detach() for scale in method.scales]))


def by_hand(role: str, plain: NextItNet, scales: list[Tensor]) -> Tensor:
    keep = torch.ones(*items().shape, 1)
    states, left = plain.stem.table(items()), list(scales)
    for block in plain.blocks:
        inner = states
        for unit in (block.branch.first, block.branch.second):
            inner = unit.op(inner, keep) * (left.pop(0) if role == "op" else 1)
            inner = torch.relu(unit.norm(inner)) * (left.pop(0) if role == "unit" else 1)
        states = states + inner * (left.pop(0) if role == "branch" else 1)
    return plain.final(states, keep)


def test_scales_can_be_kept_to_the_last_blocks() -> None:
    names = chosen(small(), IA3(last_blocks=1))
    assert len(names) == 2
    assert all(name.startswith("blocks.1.") for name in names)


def test_a_second_scale_goes_on_the_first_and_trains_alone() -> None:
    encoder, first, second = small(), IA3(), IA3()
    chosen(encoder, first)
    names = chosen(encoder, second)
    assert {id(encoder.get_parameter(name)) for name in names} == {id(scale) for scale in second.scales}


def test_a_role_that_no_block_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="no sublayer with role 'gate'"):
        chosen(small(), IA3(role="gate"))


def test_a_patch_on_the_stem_is_the_bottleneck_of_the_item_vectors() -> None:
    plain, encoder, method = small(), small(), Stem(stem_patch=3)
    names = chosen(encoder, method)
    assert torch.equal(encoder(items()), plain(items()))
    assert all(name.startswith("stem.patch.") for name in names)
    assert sum(encoder.get_parameter(name).numel() for name in names) == count_parameters(WIDTH, 3)
    for name in names:
        nn.init.normal_(encoder.get_parameter(name), std=0.3)
    down_weight, down_bias, up_weight, up_bias = (encoder.get_parameter(name) for name in names)
    with torch.no_grad():
        table = plain.stem.table.weight
        changed = table + torch.relu(table @ down_weight.t() + down_bias) @ up_weight.t() + up_bias
        plain.stem.table.weight.copy_(changed)
    torch.testing.assert_close(encoder(items()), plain(items()))


def test_a_patch_on_the_stem_of_no_width_is_refused() -> None:
    with pytest.raises(ConfigError, match="stem_patch is 0"):
        Stem(stem_patch=0)

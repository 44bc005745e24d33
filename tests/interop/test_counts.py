"""Parameter counts equal the formulas of the PeterRec paper's specification."""

import pytest
from torch import nn

from userrep.methods.patch import count_parameters
from userrep.methods.peterrec import PeterRec
from userrep.models.nextitnet import NextItNet
from userrep.objectives.next_item import NextItem
from userrep.sequences.protocol import Protocol
from userrep.training.weights import count

BLOCKS, KERNEL = 8, 3
PUBLISHED = {64: 199_680, 128: 792_576, 256: 3_158_016}  # backbones of 8 blocks
PUBLISHED_PATCHES = {  # (width, ratio, patches a block) -> all patches of 8 blocks
    (64, 8, 2): 17_536, (64, 4, 2): 34_048, (64, 4, 1): 17_024,
    (128, 8, 2): 67_840, (128, 4, 2): 133_632, (128, 4, 1): 66_816,
    (256, 8, 2): 266_752, (256, 4, 2): 529_408, (256, 4, 1): 264_704,
}  # fmt: skip
INSERTIONS = {"b": 2, "c": 1, "d": 2}


def nextitnet(width: int, vocab_size: int = 10) -> NextItNet:
    return NextItNet(vocab_size, width, dilations=[1, 4] * (BLOCKS // 2), kernel_size=KERNEL)


def untied(encoder: NextItNet, bias: bool) -> NextItem:
    objective = NextItem(tied=False, bias=bias)
    objective.setup(encoder, None, Protocol())  # type: ignore[arg-type]  # its heads hang on the encoder alone
    return objective


@pytest.mark.parametrize("width", PUBLISHED)
def test_blocks_and_backbone_count_as_the_formula(width: int) -> None:
    encoder = nextitnet(width)
    block = 2 * (KERNEL * width**2 + width) + 4 * width
    assert {count(part) for part in encoder.blocks} == {block}
    assert count(encoder) - 10 * width == BLOCKS * block == PUBLISHED[width]


@pytest.mark.parametrize("insertion", INSERTIONS)
@pytest.mark.parametrize("ratio", [8, 4])
@pytest.mark.parametrize("width", PUBLISHED)
def test_patches_count_as_the_formula(width: int, ratio: int, insertion: str) -> None:
    encoder = nextitnet(width)
    before = count(encoder)
    PeterRec(insertion=insertion, ratio=ratio).adapt(encoder, "last")
    narrow = width // ratio
    one = 2 * width * narrow + narrow + width
    added = INSERTIONS[insertion] * BLOCKS * one
    assert count_parameters(width, narrow) == one
    assert count(encoder) - before == added
    assert PUBLISHED_PATCHES.get((width, ratio, INSERTIONS[insertion]), added) == added


@pytest.mark.parametrize("width", PUBLISHED)
def test_second_norms_count_two_widths_a_block(width: int) -> None:
    encoder, method = nextitnet(width), PeterRec(insertion="d", norms="second")
    method.adapt(encoder, "last")
    named = dict(encoder.named_parameters())
    norms = [name for name in method.trainable(encoder) if ".norm." in name]
    assert sum(named[name].numel() for name in norms) == 2 * width * BLOCKS


def test_the_published_tiny_checkpoint_counts_222255() -> None:
    encoder = nextitnet(64, vocab_size=175)
    assert count(encoder) + count(untied(encoder, bias=True)) == 222_255


def test_fine_tuning_all_of_it_for_32_targets_counts_224303() -> None:
    encoder = nextitnet(64, vocab_size=175)
    targets = nn.Embedding(32, 64)
    assert count(encoder) + count(untied(encoder, bias=True)) + count(targets) == 224_303

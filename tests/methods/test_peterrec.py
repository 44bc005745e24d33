"""PeterRec's insertions against formulas written out, its options, and what it refuses."""

import pytest
import torch
from torch import Tensor

from userrep.errors import ConfigError
from userrep.methods.patch import Patch
from userrep.methods.peterrec import PeterRec
from userrep.methods.surgery import matching
from userrep.models.nextitnet import NextItNet

WIDTH = 8


def small() -> NextItNet:
    torch.manual_seed(0)
    encoder = NextItNet(20, WIDTH, [1, 2])
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return encoder.eval()


def adapted(**options: object) -> NextItNet:
    """Adapt and give every patch random weights."""
    encoder = small()
    PeterRec(ratio=4, **options).adapt(encoder, "last")  # type: ignore[arg-type]
    torch.manual_seed(1)
    for name, parameter in encoder.named_parameters():
        if ".patch." in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return encoder


def bottleneck(patch: Patch, states: Tensor) -> Tensor:
    return torch.relu(states @ patch.down.weight.t() + patch.down.bias) @ patch.up.weight.t() + patch.up.bias


def by_hand(insertion: str, encoder: NextItNet, plain: NextItNet, items: Tensor, skip: bool) -> Tensor:
    """Walk through the network of figure 3, on histories without padding."""
    keep = torch.ones(*items.shape, 1)
    states = plain.stem.table(items)
    for changed, block in zip(encoder.blocks, plain.blocks, strict=True):
        inner = states
        for unit in ("first", "second"):
            where = changed.branch.inner if insertion == "c" else changed.branch
            own, new = getattr(block.branch, unit), getattr(where, unit)
            out = own.op(inner, keep)
            if insertion == "b":
                out = (out if skip else 0) + bottleneck(new.op.patch, out)
            if insertion == "d":
                out = out + (inner if skip else 0) + bottleneck(new.op.patch, inner)
            out = torch.relu(own.norm(out))
            if insertion == "e":
                out = out + (inner if skip else 0) + bottleneck(new.patch, inner)
            inner = out
        if insertion == "c":
            inner = (inner if skip else 0) + bottleneck(changed.branch.patch, inner)
        states = states + inner
    return states


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("insertion", ["b", "c", "d", "e"])
def test_an_insertion_equals_its_figure_written_out(insertion: str, skip: bool) -> None:
    encoder = adapted(insertion=insertion, skip=skip)
    items = torch.randint(2, 20, (3, 6))
    torch.testing.assert_close(encoder(items), by_hand(insertion, encoder, small(), items, skip))


@pytest.mark.parametrize(
    ("insertion", "skip", "zero_init", "promised"),
    [("b", True, True, True), ("c", True, True, True), ("d", False, True, True), ("e", False, True, True),
     ("d", True, True, False), ("e", True, True, False), ("b", True, False, False), ("d", False, False, False)],
)  # fmt: skip
def test_it_starts_as_the_base_exactly_where_it_promises_to(
    insertion: str, skip: bool, zero_init: bool, promised: bool
) -> None:
    encoder, method = small(), PeterRec(insertion=insertion, skip=skip, zero_init=zero_init, ratio=4)
    items = torch.randint(2, 20, (3, 6))
    before = encoder(items)
    method.adapt(encoder, "last")
    assert method.identity_at_start is promised
    assert torch.equal(encoder(items), before) is promised


@pytest.mark.parametrize(("norms", "trained"), [("none", 0), ("second", 2), ("all", 4)])
def test_norms_train_as_asked_wherever_patches_moved_them(norms: str, trained: int) -> None:
    for insertion in ("b", "c", "e"):
        encoder, method = small(), PeterRec(insertion=insertion, norms=norms, ratio=4)
        method.adapt(encoder, "last")
        (phase,) = method.phases(encoder)
        chosen = [name for name in matching(encoder, phase.trainable) if ".norm." in name]
        assert len(chosen) == 2 * trained
        if norms == "second":
            assert all(".second." in name for name in chosen)


def test_patches_can_be_kept_to_the_last_blocks() -> None:
    encoder = small()
    PeterRec(last_blocks=1, ratio=4).adapt(encoder, "last")
    assert {name.split(".")[1] for name, _ in encoder.named_parameters() if ".patch." in name} == {"1"}


def test_the_token_trains_where_the_readout_reads_one() -> None:
    for readout, wanted in (("token", True), ("mean", False)):
        encoder, method = small(), PeterRec(ratio=4)
        method.adapt(encoder, readout)
        assert ("token" in matching(encoder, method.phases(encoder)[0].trainable)) is wanted


@pytest.mark.parametrize(
    "options",
    [
        {"insertion": "f"},
        {"norms": "some"},
        {"ratio": 100},
        {"ratio": 0},
        {"activation": "step"},
        {"last_blocks": 3},
        {"last_blocks": 0},
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(options: dict) -> None:
    with pytest.raises(ConfigError) as caught:
        PeterRec(**options).adapt(small(), "last")
    assert caught.value.hint

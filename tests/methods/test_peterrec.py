"""PeterRec's insertions against formulas written out, its options, and what it refuses."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from userrep.build import build
from userrep.errors import ConfigError
from userrep.files import read_yaml
from userrep.groups import conf_dir
from userrep.methods.patch import Patch
from userrep.methods.peterrec import PeterRec
from userrep.methods.surgery import matching
from userrep.models.nextitnet import NextItNet
from userrep.objectives.classify import Classify
from userrep.objectives.next_item import NextItem
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared
from userrep.stages.transfer import delta_names
from userrep.training.weights import identities, save_weights

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


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("relu", lambda x: x.clamp_min(0)),
        ("gelu", lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2),
        ("leaky_relu", lambda x: torch.where(x > 0, x, 0.01 * x)),
    ],
)
def test_a_patch_has_the_activation_that_it_names(name: str, formula: Callable[[Tensor], Tensor]) -> None:
    states = torch.randn(4, WIDTH)
    for skip in (True, False):
        patch = Patch(WIDTH, 3, name, skip=skip, zero_init=False)
        change = formula(states @ patch.down.weight.t() + patch.down.bias) @ patch.up.weight.t() + patch.up.bias
        torch.testing.assert_close(patch(states), states + change if skip else change)


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


@pytest.mark.parametrize("readout", ["mean", "mean+items", "token"])
def test_a_profile_task_of_movielens_size_is_stored_in_a_twentieth_of_its_base(
    readout: str, prepared: Prepared, tmp_path: Path
) -> None:
    items, protocol = 3_708, Protocol(readout=readout)
    encoder = build(read_yaml(conf_dir() / "model" / "nextitnet.yaml"), vocab_size=items)
    assert (encoder.width, len(encoder.blocks)) == (64, 8)
    base, task = NextItem(), Classify("gender")
    base.setup(encoder, prepared, protocol)
    whole = save_weights(tmp_path / "model.safetensors", encoder, base)
    before, method = identities(encoder), build(read_yaml(conf_dir() / "method" / "peterrec.yaml"))
    method.adapt(encoder, readout)
    task.setup(encoder, prepared, protocol)
    names = delta_names(method, encoder, method.phases(encoder), before)
    size = save_weights(tmp_path / "delta.safetensors", encoder, task, names)
    assert 4 * 17_536 < size < 0.05 * whole

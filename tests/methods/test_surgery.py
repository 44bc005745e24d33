"""Surgery: patterns that must match, masks that hold, tables of low rank, and the one-shot pruning built on them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from userrep.errors import ConfigError
from userrep.methods.finetune import Head, Last
from userrep.methods.prune import MagnitudePrune, largest, sparsity
from userrep.methods.surgery import add_low_rank_table, add_mask, flatten, kernels, matching, sublayers, train_only
from userrep.models.nextitnet import NextItNet


def small() -> NextItNet:
    torch.manual_seed(0)
    return NextItNet(20, 8, [1, 2], final_norm=True).eval()


def test_a_pattern_that_matches_nothing_lists_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"matches 'blocks\.\*\.adapter") as caught:
        matching(small(), ["blocks.*.adapter.*"])
    assert "stem.table.weight" in caught.value.hint


def test_only_what_matches_asks_for_gradients() -> None:
    encoder = small()
    chosen = train_only(encoder, ["blocks.1.*"])
    assert chosen
    assert all(p.requires_grad is name.startswith("blocks.1.") for name, p in encoder.named_parameters())
    assert train_only(encoder, ()) == []


def test_an_unknown_role_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no sublayer with role 'gate'") as caught:
        sublayers(small(), "gate")
    assert "branch" in caught.value.hint


@pytest.mark.parametrize(
    ("blocks", "prefixes"), [(1, {"blocks.1", "final.norm"}), (2, {"blocks.0", "blocks.1", "final.norm"})]
)
def test_the_last_blocks_and_the_final_norm_train_together(blocks: int, prefixes: set[str]) -> None:
    encoder, method = small(), Last(blocks)
    method.adapt(encoder, "mean")
    chosen = matching(encoder, method.phases(encoder)[0].trainable)
    assert {".".join(name.split(".")[:2]) for name in chosen} == prefixes


@pytest.mark.parametrize("blocks", [0, 3])
def test_more_blocks_than_there_are_is_refused(blocks: int) -> None:
    with pytest.raises(ConfigError, match=f"method.blocks is {blocks}"):
        Last(blocks).phases(small())


def test_a_head_alone_trains_nothing_of_the_encoder_but_what_the_readout_adds() -> None:
    for readout, wanted in (("mean", []), ("token", ["token"]), ("attention", ["readout.query"])):
        encoder, method = small(), Head()
        method.adapt(encoder, readout)
        assert matching(encoder, method.phases(encoder)[0].trainable) == wanted


def test_a_table_of_low_rank_starts_as_its_base_and_agrees_with_its_own_look_ups() -> None:
    encoder = small()
    before = encoder.item_vectors().clone()
    add_low_rank_table(encoder, 3)
    assert torch.equal(encoder.item_vectors(), before)
    torch.nn.init.normal_(encoder.stem.table.low.weight)
    items = torch.arange(20)[None]
    torch.testing.assert_close(encoder.stem.table(items)[0], encoder.item_vectors())
    change = encoder.item_vectors() - before
    assert torch.linalg.matrix_rank(change.detach(), rtol=1e-4) == 3


def test_a_table_of_low_rank_is_not_multiplied_out_to_encode(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = small()
    add_low_rank_table(encoder, 3)

    def refused(self: object) -> torch.Tensor:
        raise AssertionError("the whole table was made")

    monkeypatch.setattr(type(encoder.stem.table), "weight", property(refused))
    encoder(torch.ones(1, 4, dtype=torch.long))


@pytest.mark.parametrize("rank", [-1, 9])
def test_a_rank_that_cannot_be_is_refused(rank: int) -> None:
    with pytest.raises(ConfigError, match=f"table_rank is {rank}"):
        add_low_rank_table(small(), rank)


def test_what_a_mask_hides_stays_hidden_whatever_it_becomes() -> None:
    encoder = small()
    name = "blocks.0.branch.first.op.weight"
    conv = encoder.get_submodule("blocks.0.branch.first.op")
    mask = torch.rand_like(conv.weight) > 0.5
    add_mask(encoder, name, mask)
    items = torch.randint(2, 20, (2, 6))
    before = encoder(items)
    original = conv.parametrizations.weight.original
    with torch.no_grad():
        original[~mask] = torch.nan
    assert torch.equal(encoder(items), before)
    encoder.train()(items).sum().backward()
    assert torch.equal(original.grad[~mask], torch.zeros_like(original.grad[~mask]))
    add_mask(encoder, name, torch.zeros_like(mask))
    assert (conv.weight == 0).all()


@settings(max_examples=40)
@given(
    values=st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0]), min_size=1, max_size=40),
    keep=st.floats(0.01, 1.0),
)
def test_exactly_the_largest_share_survives_even_among_equals(values: list[float], keep: float) -> None:
    weight = torch.tensor(values)
    mask = largest(weight, keep)
    assert int(mask.sum()) == int(keep * len(values))
    if mask.any() and (~mask).any():
        assert weight[mask].abs().min() >= weight[~mask].abs().max()


@pytest.mark.parametrize("keep", [1.0, 0.5, 0.3, 0.01])
def test_pruning_keeps_the_share_of_each_kernel_and_nothing_else_changes(keep: float) -> None:
    encoder, plain, method = small(), small(), MagnitudePrune(keep)
    method.adapt(encoder, "last")
    assert sparsity(encoder) == 0
    prune, retrain = method.phases(encoder)
    assert (prune.epochs, retrain.begin) == (0, None)
    prune.begin(encoder)  # type: ignore[misc]
    names = kernels(encoder)
    assert names == kernels(plain)
    flat = flatten(encoder).state_dict()
    for name, tensor in plain.state_dict().items():
        kept = largest(tensor, keep) if name in names else torch.ones_like(tensor, dtype=torch.bool)
        assert torch.equal(flat[name], torch.where(kept, tensor, 0.0))
    counts = [int(keep * tensor.numel()) for name, tensor in plain.state_dict().items() if name in names]
    total = sum(tensor.numel() for name, tensor in plain.state_dict().items() if name in names)
    assert sparsity(encoder) == pytest.approx(1 - sum(counts) / total)


@pytest.mark.parametrize("keep", [0.2, 0.9])
def test_pruning_what_was_pruned_brings_nothing_back(keep: float) -> None:
    encoder = small()
    for share in (0.5, keep):
        method = MagnitudePrune(share)
        before = encoder(torch.full((1, 4), 3))
        method.adapt(encoder, "last")
        assert torch.equal(encoder(torch.full((1, 4), 3)), before)
        method.prune(encoder)
        with torch.no_grad():
            for name, parameter in encoder.named_parameters():
                if name.endswith("original"):
                    parameter.add_(torch.randn_like(parameter))  # retraining, hidden weights included
    assert sparsity(encoder) == pytest.approx(1 - min(0.5, keep), abs=0.01)


@pytest.mark.parametrize("keep", [0.0, -0.1, 1.2])
def test_a_share_that_cannot_be_kept_is_refused(keep: float) -> None:
    with pytest.raises(ConfigError, match="keep share is"):
        MagnitudePrune(keep)

"""The routed loop (spec B10, 1 to 3, 9 and 10): sides, routes given by hand, grouped and masked execution."""

from copy import deepcopy

import pytest
import tiny
import torch
from torch import Tensor, nn

from userrep.errors import ConfigError
from userrep.methods.routed import Routed, read_routes, routed
from userrep.methods.surgery import add_mask, kernels, names_of, set_readout
from userrep.methods.tuned import TUNED, Copies
from userrep.methods.uaf import UAF
from userrep.models.encoder import Encoder, Final
from userrep.models.nextitnet import NextItNet
from userrep.models.packing import packed
from userrep.models.stem import ItemStem

MODELS = tiny.names("model")
every_model = pytest.mark.parametrize("model", MODELS)
every_side = pytest.mark.parametrize("tune", TUNED)


def loop_of(encoder: Encoder) -> Routed:
    loop = routed(encoder)
    assert loop is not None
    return loop


def adapted(model: str | Encoder = "nextitnet", moved: bool = False, **options: object) -> Encoder:
    """Adapt a small encoder; `moved` gives what trains of the tuned side other weights."""
    base = tiny.encoder(model) if isinstance(model, str) else model
    encoder = UAF(**options).adapt(base, "mean+token")  # type: ignore[arg-type]
    if moved:
        torch.manual_seed(1)
        for module in loop_of(encoder).tuned.trained():
            for parameter in module.parameters():
                nn.init.normal_(parameter, std=0.3)
    return encoder.eval()


def routes(encoder: Encoder, users: int = 5) -> Tensor:
    shape = users, loop_of(encoder).count
    return torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(2)).float()


@every_model
@every_side
def test_at_the_start_no_route_changes_a_user(model: str, tune: str) -> None:
    base, items = tiny.encoder(model), tiny.histories()
    set_readout(base, "mean+items")
    encoder = adapted(model, tune=tune)
    set_readout(encoder, "mean+items")
    loop_of(encoder).grouped = False
    for route in (torch.zeros(loop_of(encoder).count), torch.ones(loop_of(encoder).count), routes(encoder)):
        with loop_of(encoder).given(route):
            assert torch.equal(tiny.users(encoder, items), tiny.users(base, items))


@every_side
def test_at_the_start_shares_between_change_no_user(tune: str) -> None:
    encoder, items = adapted(strategy="soft", tune=tune), tiny.histories()
    before = tiny.users(encoder, items)
    with loop_of(encoder).given(torch.rand(5, loop_of(encoder).count)):
        torch.testing.assert_close(tiny.users(encoder, items), before, atol=1e-6, rtol=0)


@every_model
def test_all_frozen_is_the_base_bit_for_bit_after_training_too(model: str) -> None:
    trained = tiny.trained(model, "uaf")
    loop = loop_of(trained.encoder)
    with loop.given(torch.zeros(loop.count)):
        assert torch.equal(tiny.states(trained.encoder, tiny.histories()), trained.base_states)


@every_model
def test_all_tuned_is_the_encoder_with_the_tuned_weights_bit_for_bit(model: str) -> None:
    encoder, items = deepcopy(tiny.trained(model, "uaf").encoder), tiny.histories()
    loop = loop_of(encoder)
    with loop.given(torch.ones(loop.count)):
        tuned = tiny.users(encoder, items)
    assert isinstance(loop.tuned, Copies)
    for block, copy in zip(encoder.blocks, loop.tuned.copies, strict=True):
        block.load_state_dict(copy.state_dict())
    with loop.given(torch.zeros(loop.count)):
        assert torch.equal(tiny.users(encoder, items), tuned)


@every_model
@every_side
def test_users_run_in_groups_as_they_would_masked(model: str, tune: str) -> None:
    encoder, items = adapted(model, moved=True, tune=tune), tiny.histories(12)
    loop = loop_of(encoder)
    with loop.given(routes(encoder, 12)):
        grouped = tiny.users(encoder, items)
        loop.grouped = False
        masked = tiny.users(encoder, items)
    torch.testing.assert_close(grouped, masked, atol=1e-5, rtol=1e-5)
    with loop.given(torch.zeros(loop.count)):
        assert not torch.allclose(grouped, tiny.users(encoder, items), atol=1e-3)


@every_side
@pytest.mark.parametrize("strategy", ["hard", "soft"])
@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_packed_rows_go_the_ways_of_their_users(
    tune: str, strategy: str, grouped: bool, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny.encoder("nextitnet", dropout=0.0)
    encoder, items = adapted(base, moved=True, tune=tune, strategy=strategy), tiny.histories(12)
    loop, found, taken = loop_of(encoder), [], []
    loop.grouped = grouped
    for way in (packed, lambda *_: None):
        monkeypatch.setattr(
            "userrep.models.encoder.packed", lambda *given, way=way: taken.append(way(*given)) or taken[-1]
        )
        torch.manual_seed(0)  # of the gates
        with torch.no_grad():
            by_step = encoder.train(training)(items)  # each step by a route of its own
            with loop.given(routes(encoder, 12)):
                found.append((by_step, encoder.user(items)))
    assert [one is not None for one in taken] == [True, True, False, False]
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)


@every_side
def test_in_training_the_mix_of_firm_shares_is_what_serving_picks(tune: str) -> None:
    encoder, items = adapted(tiny.encoder("nextitnet", dropout=0.0), moved=True, tune=tune), tiny.histories()
    with loop_of(encoder).given(routes(encoder)), torch.no_grad():
        torch.testing.assert_close(encoder.train().user(items), tiny.users(encoder, items), atol=1e-5, rtol=1e-5)


@every_model
@every_side
def test_in_training_both_sides_drop_the_same(model: str, tune: str) -> None:
    encoder, items = adapted(model, tune=tune).train(), tiny.histories()
    loop, found = loop_of(encoder), []
    for share in (0.0, 1.0):
        torch.manual_seed(6)
        with loop.given(torch.full((loop.count,), share)), torch.no_grad():
            found.append((encoder.user(items), torch.rand(1)))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("grouped", [True, False])
def test_a_nan_in_a_side_that_is_not_taken_reaches_nobody(grouped: bool) -> None:
    encoder, items = adapted(), tiny.histories()
    loop, before = loop_of(encoder), tiny.users(encoder, items)
    for parameter in loop.tuned.parameters():
        nn.init.constant_(parameter, float("nan"))
    loop.grouped = grouped
    with loop.given(torch.zeros(loop.count)):
        torch.testing.assert_close(tiny.users(encoder, items), before)
    half = torch.zeros(5, loop.count)
    half[0] = 1
    with loop.given(half):
        torch.testing.assert_close(tiny.users(encoder, items)[1:], before[1:])


def test_a_share_that_grows_firm_becomes_the_firm_route() -> None:
    encoder, items = adapted(strategy="soft", moved=True), tiny.histories()
    route = routes(encoder)
    with loop_of(encoder).given(route):
        firm = tiny.users(encoder, items)
    with loop_of(encoder).given(route.clamp(1e-7, 1 - 1e-7)):
        torch.testing.assert_close(tiny.users(encoder, items), firm, atol=1e-5, rtol=1e-5)


def test_a_users_route_is_read_as_it_is_passed() -> None:
    encoder, items = adapted(moved=True), tiny.histories()
    route, chance = read_routes(encoder, items).chunk(2, dim=1)
    assert set(route.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(route, (chance > 0.5).float())
    with loop_of(encoder).given(route):
        given = tiny.users(encoder, items)
    assert torch.equal(tiny.users(encoder, items), given)


def test_low_rank_changes_stand_behind_the_masks_of_a_pruned_base() -> None:
    base = tiny.encoder("nextitnet")
    for name in kernels(base):
        weight = base.get_submodule(name.rpartition(".")[0]).weight
        assert isinstance(weight, Tensor)
        add_mask(base, name, torch.arange(weight.numel()).view_as(weight) % 2 == 0)
    items, before = tiny.histories(), tiny.states(base, tiny.histories())
    encoder = UAF(tune="lora").adapt(base, "mean").eval()
    loop = loop_of(encoder)
    with loop.given(torch.ones(loop.count)):
        assert torch.equal(tiny.states(encoder, items), before)


@pytest.mark.parametrize("shape", [(3,), (4, 2), (5, 3), (5, 1, 2), ()])
def test_a_route_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    encoder = adapted()
    with (
        pytest.raises(ConfigError, match="is no choice for 2 blocks"),
        loop_of(encoder).given(torch.zeros(shape)),
    ):
        tiny.users(encoder, tiny.histories())


def test_a_route_outside_its_bounds_is_refused_and_nothing_stays_given() -> None:
    encoder, items = adapted(moved=True), tiny.histories()
    before = tiny.users(encoder, items)
    with pytest.raises(ConfigError, match="outside"), loop_of(encoder).given(torch.tensor([0.0, 1.5])):
        pass
    with pytest.raises(ValueError, match="x"), loop_of(encoder).given(torch.ones(2)):
        raise ValueError("x")
    assert torch.equal(tiny.users(encoder, items), before)


def test_an_encoder_whose_users_choose_nothing_has_no_routes() -> None:
    with pytest.raises(ConfigError, match="passes all users through the same blocks"):
        read_routes(tiny.encoder("sasrec"), tiny.histories())


def test_an_encoder_without_blocks_is_refused() -> None:
    bare = Encoder(vocab_size=9, width=4, stem=ItemStem(9, 4), blocks=[], final=Final(4, False))
    with pytest.raises(ConfigError, match="Encoder has no blocks to choose between"):
        UAF().adapt(bare, "mean")


@pytest.mark.parametrize("method", tiny.names("method"))
def test_a_base_whose_users_choose_is_for_methods_that_treat_all_sides_alike(method: str) -> None:
    following, encoder = tiny.method(method), adapted(tune="lora")
    if following.over_routes:
        following.accept(encoder, "transfer", "runs/one")
        following.adapt(encoder, "mean")
        return
    with pytest.raises(ConfigError, match="choose between sides of its blocks, and this method would change one"):
        following.accept(encoder, "transfer", "runs/one")


def test_at_the_papers_width_patches_are_under_a_tenth_of_copies_and_all_that_is_added_under_15_percent() -> None:
    def sizes(**options: object) -> tuple[int, int]:
        encoder = NextItNet(50, width=128, dilations=[1, 4] * 4)
        UAF(**options).adapt(encoder, "mean")  # type: ignore[arg-type]
        loop, counts = loop_of(encoder), {name: p.numel() for name, p in encoder.named_parameters()}
        tuned = sum(counts[name] for name in names_of(encoder, loop.tuned.trained()))
        return tuned, tuned + sum(counts[name] for name in names_of(encoder, [loop.policy]))

    copies, _ = sizes(tune="copy")
    patches, added = sizes(tune="patch", policy="mean")
    assert copies == 792_576  # spec B7
    assert patches < 0.1 * copies
    assert added < 0.15 * copies
    assert sizes(policy="conv")[1] - copies == 198_144 + 2_064

"""The promise of conure for every yaml in conf/model: a task's answers stay, bit for bit, whatever comes later."""

from copy import deepcopy
from itertools import pairwise
from typing import Any

import pytest
import tiny
import torch
from owned_chain import Learned, answers, asked, chain, first, learn, same, weights

from userrep.errors import ConfigError
from userrep.methods.conure import Conure, owned_weights
from userrep.methods.finetune import Full
from userrep.methods.growth import GrownTable, with_growth
from userrep.methods.surgery import original_of
from userrep.sequences.protocol import Protocol

MODELS = tiny.names("model")
every_model = pytest.mark.parametrize("model", MODELS)
NAN = float("nan")


def pairs(model: str, **options: Any) -> list[tuple[Learned, Learned]]:
    """Pair each task of a chain with each later one."""
    learned = chain(model, **options)
    return [(earlier, later) for earlier in learned for later in learned if later.task > earlier.task]


def test_the_encoders_that_the_paper_and_its_successors_use_are_among_them() -> None:
    assert {"nextitnet", "sasrec", "gru4rec"} <= set(MODELS)


@every_model
def test_every_earlier_task_is_answered_bit_for_bit_by_every_later_encoder(model: str) -> None:
    for earlier, later in pairs(model):
        assert same(answers(asked(earlier, later)), answers(earlier)), (earlier.task, later.task)


@every_model
def test_backward_transfer_is_exactly_zero(model: str) -> None:
    protocol = Protocol(readout="mean+token", history=tiny.STEPS)
    *before, newest = chain(model)
    for earlier in before:
        then, now = (
            found.objective.evaluate(found.encoder, tiny.data(), protocol, "test").metrics()
            for found in (earlier, asked(earlier, newest))
        )
        assert len(then) >= 3
        assert {name: now[name] - then[name] for name in then} == dict.fromkeys(then, 0.0)


@every_model
def test_a_task_reads_nothing_of_later_owners_and_nothing_free(model: str) -> None:
    *before, newest = chain(model)
    for earlier in before:
        broken = deepcopy(newest)
        for owned, weight in weights(broken.encoder):
            weight.fill_(NAN)
            owned.kept[(owned.owner == 0) | (owned.owner > earlier.task)] = NAN
        assert same(answers(asked(earlier, broken)), answers(earlier))
        for owned, _ in weights(broken.encoder):  # and all of what it owns
            owned.kept[owned.owner == earlier.task] = NAN
        assert answers(asked(earlier, broken))[0].isnan().any()


@every_model
def test_every_task_owns_its_share_and_gives_none_of_it_back(model: str) -> None:
    learned = chain(model)
    for before, after in pairwise(learned):
        for (old, _), (new, _) in zip(weights(before.encoder), weights(after.encoder), strict=True):
            had = old.owner > 0
            assert torch.equal(new.owner[had], old.owner[had])
            assert torch.equal(new.kept[had], old.kept[had])
    for owned, weight in weights(learned[-1].encoder):
        shares = [int((owned.owner == task).sum()) for task in range(4)]
        wanted = [int(0.3 * 0.7**earlier * weight.numel() + 1e-9) for earlier in range(3)]
        assert shares == [weight.numel() - sum(wanted), *wanted]
        assert int(owned.owner.max()) == 3


@every_model
def test_a_task_trains_all_that_it_owns_and_nothing_else_that_earlier_tasks_read(model: str) -> None:
    """The tensors between tasks 1 and 2: what is neither owned nor the task's own has its bits still."""
    one, two = (learned.encoder for learned in chain(model)[:2])
    moves = {original_of(two, name)[0] for name, _ in owned_weights(two)} | {"token"}
    now = two.state_dict()
    for name, tensor in one.state_dict().items():
        if name not in moves and not name.endswith((".owner", ".kept", ".free")):
            assert torch.equal(tensor, now[name]), name
    for (owned, new), (_, old) in zip(weights(two), weights(one), strict=True):
        assert (new != old)[owned.owner == 2].float().mean() > 0.5


@every_model
@pytest.mark.parametrize("mode", ["open", "taken"])
def test_training_reads_owned_weights_as_constants(model: str, mode: str) -> None:
    learned = deepcopy(chain(model)[1])
    encoder, method, items = learned.encoder, Conure(), tiny.histories()
    method.adapt(encoder, "mean+token")
    if mode == "taken":
        method._prune(encoder)
    before = encoder.user(items)
    constant = {name: owned.owner.logical_and(owned.owner < 3) for name, owned in owned_weights(encoder)}
    for name, owned in constant.items():
        original_of(encoder, name)[1].data[owned] = NAN
    after = encoder.user(items)
    assert torch.equal(before, after)
    (after**2).sum().backward()
    for name, owned in constant.items():
        grad = original_of(encoder, name)[1].grad
        assert grad is not None
        assert bool((grad[owned] == 0).all())
        assert bool(grad[~owned].ne(0).any())


OPTIONS: dict[str, dict[str, Any]] = {
    "vectors=own": {"vectors": "own"},
    "free=zero": {"free": "zero"},
    "free=reinitialise": {"free": "reinitialise"},
    "table=true": {"table": True},
    "retrain_shared=false": {"retrain_shared": False},
    "reserve_for": {"reserve_for": 3},
    "official": {"count": "official", "keep": 0.2},
}
every_option = pytest.mark.parametrize("option", OPTIONS)


@every_option
@pytest.mark.parametrize("model", ["nextitnet", "sasrec"])
def test_the_promise_holds_under_every_option(model: str, option: str) -> None:
    for earlier, later in pairs(model, **OPTIONS[option]):
        assert same(answers(asked(earlier, later)), answers(earlier)), (earlier.task, later.task)


def vectors_of(learned: Learned) -> dict[str, torch.Tensor]:
    return {name: t for name, t in learned.encoder.state_dict().items() if "norm." in name or name.endswith("bias")}


def test_norms_and_biases_are_shared_or_each_task_s_own() -> None:
    own, shared = chain("nextitnet", vectors="own"), chain("nextitnet")
    assert all(not torch.equal(tensor, vectors_of(own[1])[name]) for name, tensor in vectors_of(own[0]).items())
    assert all(torch.equal(tensor, vectors_of(shared[2])[name]) for name, tensor in vectors_of(shared[0]).items())
    without = Learned(1, shared[0].method, own[0].encoder, own[0].objective)
    taken_over = asked(without, Learned(3, shared[2].method, own[2].encoder, own[2].objective))
    assert not same(answers(taken_over), answers(own[0]))  # with the newest task's norms: that would be forgetting


@pytest.mark.parametrize("policy", ["keep", "zero", "reinitialise"])
def test_free_weights_are_left_as_the_policy_says(policy: str) -> None:
    encoder = tiny.encoder("nextitnet")
    method = Conure(free=policy)
    method.adapt(encoder, "mean")
    method._prune(encoder)
    before = [weight.clone() for _, weight in weights(encoder)]
    method.finish(encoder)
    for (owned, after), old in zip(weights(encoder), before, strict=True):
        free = owned.owner == 0
        assert torch.equal(after[~free], old[~free])
        assert torch.equal(after, old) is (policy == "keep")
        assert bool((after[free] == 0).all()) is (policy == "zero")
        if policy == "reinitialise":
            assert 0.01 < float(after[free].std()) < 0.02  # a normal of 0.02, cut at two deviations


def test_a_masked_item_table_has_owners_like_any_kernel() -> None:
    learned = chain("nextitnet", table=True)
    newest = learned[-1].encoder
    names = [name for name, _ in owned_weights(newest)]
    assert names[-1] == "stem.table.weight"
    assert "stem.table.weight" not in [name for name, _ in owned_weights(chain("nextitnet")[-1].encoder)]
    tables = [found.encoder.item_vectors() for found in learned]
    shares = [float((table != 0).float().mean()) for table in tables]
    assert shares == pytest.approx([0.3, 0.51, 0.657], abs=0.01)
    assert torch.equal(tables[2][tables[0] != 0], tables[0][tables[0] != 0])


@pytest.mark.parametrize("shared", [True, False])
def test_what_is_no_kernel_is_retrained_with_task_1_or_not_at_all(shared: bool) -> None:
    base, now = tiny.encoder("nextitnet").state_dict(), chain("nextitnet", retrain_shared=shared)[0].encoder
    now = dict(now.state_dict())
    for name in ("stem.table.weight", "blocks.0.branch.first.op.bias", "blocks.1.branch.second.norm.weight"):
        assert torch.equal(base[name], now[name]) is not shared


def test_reserved_tasks_own_alike_and_the_last_is_not_pruned() -> None:
    learned = chain("nextitnet", reserve_for=3)
    assert [phase.name for phase in learned[2].method.phases(learned[1].encoder)] == ["train"]
    for owned, weight in weights(learned[-1].encoder):
        sizes = [int((owned.owner == task).sum()) for task in (1, 2, 3)]
        assert sizes == pytest.approx([weight.numel() / 3] * 3, abs=2)
        assert sum(sizes) == weight.numel()


@pytest.mark.parametrize("planned", range(2, 33))
def test_planned_tasks_are_of_equal_size_whatever_rounding_does(planned: int) -> None:
    method, elements, free, sizes = Conure(reserve_for=planned), 1024 * planned, 1.0, []
    for task in range(1, planned):
        method.task = task
        sizes.append(method._size(elements, free))
        free *= 1.0 - method._share
    assert set(sizes) == {1024}


def test_a_dense_last_task_takes_all_that_is_left() -> None:
    one, *_ = chain("nextitnet")
    encoder = deepcopy(one.encoder)
    last = learn(encoder, Conure(dense_last=True), "gender")
    assert all(int(owned.owner.min()) == 1 and int(owned.owner.max()) == 2 for owned, _ in weights(encoder))
    assert all(float(owned.free) == 0 for owned, _ in weights(encoder))
    assert same(answers(asked(one, last)), answers(one))
    with pytest.raises(ConfigError, match=r"earlier tasks own all 768 weights of blocks\.0\.\S+: task 3 has none"):
        learn(encoder, Conure(), "age")


def test_what_a_chain_did_not_begin_with_is_refused_later() -> None:
    encoder = deepcopy(chain("nextitnet")[0].encoder)
    with pytest.raises(ConfigError, match=r"stem\.table\.weight has no owners, and task 2 would own weights that"):
        Conure(table=True).adapt(encoder, "mean")
    for option, name in ({"table_rank": 2}, r"stem\.table\.low\.weight"), ({"stem_patch": 3}, r"stem\.patch\.\S+"):
        with pytest.raises(ConfigError, match=rf"^phase train of task 2 would train {name}, which is no task's own$"):
            learn(deepcopy(encoder), Conure(**option), "gender")


def test_an_item_table_that_grows_after_task_1_is_refused() -> None:
    encoder, method = deepcopy(chain("nextitnet")[0].encoder), Conure()
    grown = GrownTable(encoder.stem.table, 4, "target")
    encoder.stem.table = grown
    method.adapt(encoder, "mean")
    with pytest.raises(ConfigError, match=r"would train stem\.table\.fresh\.weight, which is no task's own") as caught:
        phases = with_growth(encoder, method.phases(encoder), grown)
        method.check(encoder, phases, tiny.objective("task", "gender"))
    assert "task.history=both" in str(caught.value.hint)


def test_an_owner_is_one_byte_and_a_task_too_many_is_refused() -> None:
    encoder = deepcopy(chain("nextitnet")[0].encoder)
    for owned, _ in weights(encoder):
        owned.owner[owned.owner == 1] = 255
    method = Conure()
    method.adapt(encoder, "mean")
    with pytest.raises(ConfigError, match=r"^the chain has 255 tasks, and an owner is one byte$"):
        method.phases(encoder)


def test_without_protection_the_same_chain_forgets() -> None:
    encoder = tiny.encoder("nextitnet")
    one = Learned(1, Full(), deepcopy(encoder).eval(), first(encoder))
    newest = learn(encoder, Full(), "gender")
    assert not same(answers(asked(one, newest)), answers(one))

"""Several tasks learned together: whose batch each step is, whose loss, whose numbers, and what is refused."""

from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from loop import KINDS, adapting, advance, assert_same, finish, make_job
from torch import Tensor, nn

from userrep.build import build
from userrep.config import compose
from userrep.errors import ConfigError, UsageError, UserRepError
from userrep.methods.finetune import Full, Head
from userrep.models.encoder import Encoder
from userrep.objectives.classify import Classify
from userrep.objectives.cross_domain import CrossDomain
from userrep.objectives.joint import Interleaved, Joint
from userrep.objectives.next_item import NextItem
from userrep.objectives.objective import ROLES, Objective
from userrep.objectives.rated import Rated
from userrep.sequences.batches import Batch, Cached
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared

PROTOCOL = Protocol(history=tiny.STEPS, readout="mean", events="chain")
EVERYBODY = np.ones(48, dtype=bool)


def parts() -> dict[str, Objective]:
    return {
        "next": NextItem(loss="sampled", negatives=8),
        "liked": Rated(4.0, by="events"),
        "gender": Classify("gender", until="cut", dropout=0.2),
    }


def ready(weights: dict[str, float] | None = None, start: int = 0) -> tuple[Encoder, Joint]:
    encoder, joint = tiny.encoder("nextitnet_paper", start), Joint(parts(), weights)
    joint.setup(encoder, tiny.data(), PROTOCOL)
    with torch.no_grad():
        for parameter in joint.parameters():
            nn.init.normal_(parameter, std=0.5)
    return encoder, joint


def interleaved(joint: Joint) -> Interleaved:
    return joint.feed(tiny.data(), PROTOCOL, EVERYBODY, tiny.STEPS, 8)


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_an_epoch_has_every_batch_of_every_part_once_each_as_the_part_makes_it() -> None:
    _, joint = ready()
    feed = interleaved(joint)
    made = [feed.batch(index) for index in feed.order(np.random.default_rng(3))]
    streams = np.random.default_rng(3).spawn(3)
    for (name, part), rng in zip(joint.parts.items(), streams, strict=True):
        own = part.feed(tiny.data(), PROTOCOL, EVERYBODY, tiny.STEPS, 8)
        alone = [own.batch(index) for index in own.order(rng)]
        mine = [batch for batch in made if batch.part == name]
        assert len(mine) == len(alone) > 1
        assert sorted(map(content, mine)) == sorted(map(content, alone))
    names = [batch.part for batch in made]
    changes = sum(left != right for left, right in pairwise(names))
    assert changes > len(names) // 3  # not one part after the other


def content(batch: Batch) -> list[list[int]]:
    return [each.flatten().tolist() for each in (batch.rows, batch.items, batch.targets)]


def test_the_order_is_that_of_its_generator_and_another_part_changes_no_order() -> None:
    feed = interleaved(ready()[1])

    def orders(of: Interleaved, seed: int) -> list[list[int]]:
        return [index.tolist() for index in of.order(np.random.default_rng(seed))]

    assert orders(feed, 1) == orders(feed, 1)
    assert orders(feed, 1) != orders(feed, 2)
    fewer = Interleaved({name: feed.feeds[name] for name in ("next", "liked")})
    of_the_first = [[row for row in orders(each, 1) if row[0][0] == 0] for each in (feed, fewer)]
    assert sorted(of_the_first[0]) == sorted(of_the_first[1])


def gradients(loss: Tensor, *modules: nn.Module) -> list[Tensor | None]:
    found = [parameter for module in modules for parameter in module.parameters()]
    return list(torch.autograd.grad(loss, found, allow_unused=True))


@pytest.mark.parametrize("name", ["next", "liked", "gender"])
def test_a_step_has_the_gradient_of_its_part_times_its_weight_and_none_for_other_heads(name: str) -> None:
    weight = {"next": 1.0, "liked": 0.25, "gender": 3.0}[name]
    encoder, joint = ready({"liked": 0.25, "gender": 3.0})
    feed, part = interleaved(joint), joint.parts[name]
    drawn = (feed.batch(index) for index in feed.order(np.random.default_rng(0)))
    batch = next(each for each in drawn if each.part == name)
    torch.manual_seed(0)
    mine = gradients(joint.loss(encoder.train(), batch, draws()), encoder, part)
    torch.manual_seed(0)
    alone = gradients(part.loss(encoder, batch, draws()), encoder, part)
    assert any(each is not None and each.abs().sum() > 0 for each in alone)
    for own, theirs in zip(mine, alone, strict=True):
        assert (own is None) == (theirs is None)
        if own is not None and theirs is not None:
            torch.testing.assert_close(own, weight * theirs)
    others = [other for key, other in joint.parts.items() if key != name]
    assert all(each is None for each in gradients(joint.loss(encoder, batch, draws()), *others))


@pytest.mark.parametrize("role", ["valid", "test"])
def test_numbers_are_those_of_the_parts_alone(role: str) -> None:
    encoder, joint = ready()
    encoder.eval()
    joint.eval()
    found = joint.evaluate(encoder, tiny.data(), PROTOCOL, role)
    metrics, judged = found.metrics(), []
    for name, part in joint.parts.items():
        alone = part.evaluate(encoder, tiny.data(), PROTOCOL, role).metrics()
        assert {f"{name}/{key}": value for key, value in alone.items()}.items() <= metrics.items()
        judged.append(max(alone[part.metric], 1e-4) ** (1 if part.maximise else -1))
    assert metrics["overall"] == pytest.approx(float(np.prod(judged)) ** (1 / 3))
    assert len(metrics) == 18 + 18 + 4 + 1


def test_cases_splits_exposure_and_scores_are_those_of_all_parts() -> None:
    encoder, joint = ready()
    data = tiny.data()
    assert joint.splits == ("events", "users")
    assert joint.task_name == "next_item+liked,by=events+gender"
    for role in ROLES:
        mine, alone = joint.cases(data, PROTOCOL, role), [p.cases(data, PROTOCOL, role) for p in joint.parts.values()]
        assert mine.rows.tolist() == [row for cases in alone for row in cases.rows.tolist()]
        assert mine.ends.tolist() == [end for cases in alone for end in cases.ends.tolist()]
    said = joint.exposure(data, PROTOCOL, EVERYBODY)
    each = {name: part.exposure(data, PROTOCOL, EVERYBODY) for name, part in joint.parts.items()}
    judged = each["next"].judged["test"]["main"] | each["liked"].judged["test"]["main"]
    assert (said.judged["test"]["main"] == judged).all()
    assert (said.inputs["main"] == np.any([one.inputs["main"] for one in each.values()], axis=0)).all()
    assert each["gender"].taught is not None
    assert (said.taught == each["gender"].taught).all()
    assert (said.examined["test"] == each["gender"].examined["test"]).all()
    width = sum(part.scores(encoder, tiny.histories()).shape[1] for part in joint.parts.values())
    assert joint.scores(encoder, tiny.histories()).shape == (5, width)


@pytest.fixture
def joint_kind(monkeypatch: pytest.MonkeyPatch) -> Callable[[type], str]:
    """Teach the tests of the loop a kind of job: a label and high ratings by one encoder."""

    def of(method: type) -> str:
        def both(encoder: Encoder) -> tuple:
            _, phases, readout = adapting(method, "mean")(encoder)
            return Joint({"gender": Classify("gender", dropout=0.1), "liked": Rated(4.0)}), phases, readout

        monkeypatch.setitem(KINDS, "joint", both)
        return "joint"

    return of


def test_a_run_that_was_killed_at_any_step_ends_the_same(
    prepared: Prepared, tmp_path: Path, joint_kind: Callable[[type], str]
) -> None:
    kind, settings = joint_kind(Full), {"epochs": 1, "batch_size": 80, "checkpoint_seconds": 0}
    whole = finish(make_job(prepared, tmp_path / "whole", kind, **settings))
    assert len(whole[2]) == 2
    for _ in range(20):
        if advance(make_job(prepared, tmp_path / "cut", kind, **settings), 3):
            break
    assert_same(finish(make_job(prepared, tmp_path / "cut", kind, **settings)), whole)


def test_heads_on_a_frozen_encoder_learn_from_vectors_computed_once(
    prepared: Prepared, tmp_path: Path, joint_kind: Callable[[type], str]
) -> None:
    job = make_job(prepared, tmp_path, joint_kind(Head), epochs=1, batch_size=80)
    feed = job.objective.feed(prepared, job.protocol, job.users, job.length, 80)
    kept = job.objective.cached(feed, job.encoder.eval(), prepared, job.protocol)
    assert isinstance(kept, Interleaved)
    assert all(isinstance(each, Cached) for each in kept.feeds.values())
    for index in kept.order(np.random.default_rng(0)):
        batch = kept.batch(index)
        assert batch.user is not None
        torch.testing.assert_close(batch.user, job.encoder.user(batch.items), rtol=1e-4, atol=1e-5)
    job.objective.forget()
    log = finish(job)[2]
    assert log[1]["gender/log_loss"] != log[0]["gender/log_loss"]


def test_windows_are_as_long_as_asked_and_a_label_is_told_by_a_whole_history() -> None:
    joint = Joint(parts())
    joint.setup(tiny.encoder("nextitnet_paper"), tiny.data(), PROTOCOL)
    feed = joint.feed(tiny.data(), PROTOCOL, EVERYBODY, 3, 8)
    widest = {name: 0 for name in joint.parts}
    for index in feed.order(np.random.default_rng(0)):
        batch = feed.batch(index)
        assert batch.part is not None
        widest[batch.part] = max(widest[batch.part], batch.items.shape[1])
    assert widest["next"] == 3
    assert widest["gender"] > 3
    assert widest["liked"] > 3


def test_a_part_that_learns_what_another_is_asked_for_is_refused() -> None:
    joint = Joint({"liked": Rated(4.0, by="events"), "gender": Classify("gender")})
    joint.setup(tiny.encoder("nextitnet_paper"), tiny.data(), PROTOCOL)
    with pytest.raises(UsageError, match=r"part gender learns from [\d.]+% of what part liked is asked for") as caught:
        joint.feed(tiny.data(), PROTOCOL, EVERYBODY, tiny.STEPS, 8)
    assert "until=cut" in caught.value.hint


def test_the_encoder_grows_for_the_part_that_reads_most() -> None:
    wide = CrossDomain(target="target", which="all", history="both")
    joint, data = Joint({"gender": Classify("gender"), "cold": wide}), tiny.data()
    assert joint.extra_items(data, PROTOCOL) == wide.extra_items(data, PROTOCOL) > 0
    assert joint.inputs(data, PROTOCOL).name == wide.inputs(data, PROTOCOL).name
    assert Joint(parts()).extra_items(data, PROTOCOL) == 0


def test_an_encoder_that_a_part_cannot_be_learned_with_is_refused() -> None:
    with pytest.raises(ConfigError, match="later items"):
        Joint(parts()).setup(tiny.encoder("bert4rec"), tiny.data(), PROTOCOL)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"parts": {}}, "no parts"),
        ({"parts": {"a.b": NextItem()}}, "'a.b' cannot name"),
        ({"parts": {"keys": NextItem()}}, "'keys' cannot name"),
        ({"parts": {"one": "liked"}}, "part one is no task"),
        ({"parts": {"one": Joint({"two": NextItem()})}}, "part one is no task"),
        ({"parts": {"one": NextItem()}, "weights": {"two": 1.0}}, "no part 'two'"),
        ({"parts": {"one": NextItem()}, "weights": {"one": 0.0}}, "weight of part one is 0.0"),
        ({"parts": {"one": NextItem()}, "weights": {"one": float("nan")}}, "weight of part one is nan"),
    ],
)
def test_what_cannot_be_joined_is_refused_with_a_remedy(options: dict, told: str) -> None:
    with pytest.raises(UserRepError) as caught:
        Joint(**options)
    assert told in caught.value.message
    assert caught.value.hint


def test_parts_can_be_changed_left_out_and_weighed_by_the_command_line() -> None:
    overrides = ["task=joint_ml", "task.parts.liked.loss=bpr", "~task.parts.age", "task.weights={liked: 2}"]
    node = compose("transfer", overrides)["task"]
    joint = build(deepcopy(node))
    assert list(joint.parts) == ["liked", "loved", "gender", "occupation"]
    assert node["parts"]["liked"]["loss"] == "bpr"
    assert joint.weights == {"liked": 2, "loved": 1, "gender": 1, "occupation": 1}
    alone = compose("transfer", ["task=chain_loved"])["task"]
    assert node["parts"]["loved"] == alone

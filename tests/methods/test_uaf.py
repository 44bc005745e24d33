"""UAF: phases, gradients, budget, the official code's options, and what is refused (spec B10, 4, 6, 8 and 12)."""

import math
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from userrep.errors import ConfigError
from userrep.methods.gates import Hard, Tempered
from userrep.methods.route_watch import MARK, summary, watch_routes
from userrep.methods.routed import Routed, routed
from userrep.methods.surgery import train_only
from userrep.methods.uaf import UAF
from userrep.models.encoder import Encoder
from userrep.objectives.objective import Objective
from userrep.sequences.batches import Batch
from userrep.sequences.protocol import Protocol
from userrep.training.optim import make_optimizer
from userrep.training.trainer import Trainer

PROTOCOL = Protocol(history=tiny.STEPS, readout="mean")
EVERYBODY = np.ones(48, dtype=bool)


def ready(
    model: str = "nextitnet", task: str = "cold_k", **options: Any
) -> tuple[UAF, Encoder, Routed, Objective, Batch]:
    """Return a method, an encoder that it adapted, in training, a task with its head, and a batch."""
    method, encoder = UAF(**options), tiny.encoder(model)
    method.adapt(encoder, "mean")
    objective = tiny.objective("task", task)
    objective.setup(encoder, tiny.data(), PROTOCOL)
    feed = objective.feed(tiny.data(), PROTOCOL, EVERYBODY, tiny.STEPS, 16)
    batch = feed.batch(feed.order(np.random.default_rng(0))[0])
    loop = routed(encoder)
    assert loop is not None
    return method, encoder.train(), loop, objective.train(), batch


def gradients(loop: Routed) -> Tensor:
    return torch.cat([p.grad.flatten() for p in loop.policy.parameters() if p.grad is not None])


@pytest.mark.parametrize("strategy", ["hard", "soft"])
@pytest.mark.parametrize("model", tiny.names("model"))
def test_a_policy_gets_no_gradient_until_the_tuned_side_has_moved(strategy: str, model: str) -> None:
    method, encoder, loop, objective, batch = ready(model, strategy=strategy)
    phase = method.phases(encoder)[-1]
    train_only(encoder, phase.trainable)
    trainer = Trainer(lr=0.05)
    optimizer = make_optimizer(encoder, objective, trainer, encoder.vocab_size, phase.slower)
    draws = torch.Generator().manual_seed(0)
    objective.loss(encoder, batch, draws).backward()
    assert not gradients(loop).any()
    optimizer.step()
    optimizer.zero_grad()
    objective.loss(encoder, batch, draws).backward()
    assert gradients(loop).abs().max() > 0


def test_the_optimiser_holds_no_frozen_weight_and_the_policy_has_its_own_rate_and_no_decay() -> None:
    method, encoder, loop, objective, _ = ready()
    phase = method.phases(encoder)[-1]
    train_only(encoder, phase.trainable)
    trainer = Trainer(lr=0.01, weight_decay=0.1)
    groups = make_optimizer(encoder, objective, trainer, encoder.vocab_size, phase.slower).param_groups
    held = {id(parameter) for group in groups for parameter in group["params"]}
    frozen = [*encoder.blocks.parameters(), *encoder.stem.parameters(), *encoder.final.parameters()]
    assert not held & {id(parameter) for parameter in frozen}
    own = {id(parameter) for parameter in loop.policy.parameters()}
    apart = [group for group in groups if group["apart"]]
    assert [{id(p) for p in group["params"]} for group in apart] == [own]
    assert (apart[0]["lr"], apart[0]["weight_decay"]) == (pytest.approx(0.001), 0.0)


def test_a_first_phase_trains_the_tuned_side_under_a_policy_that_stays() -> None:
    method, encoder, *_ = ready(warm_epochs=2)
    warm, train = method.phases(encoder)
    assert (warm.name, warm.epochs, train.epochs) == ("warm", 2, None)
    assert not any(name.startswith("loop.policy.") for name in warm.trainable)
    assert set(train.trainable) > set(warm.trainable)
    assert UAF(strategy="rl").warm_epochs == 5
    assert UAF(strategy="rl", warm_epochs=0).warm_epochs == 0
    assert UAF().warm_epochs == 0


def test_the_temperature_falls_evenly_in_the_logarithm() -> None:
    method, encoder, loop, *_ = ready(temperature=8.0, temperature_end=0.5)
    pace = method.phases(encoder)[-1].pace
    assert pace is not None
    found = []
    for done in (0.0, 0.25, 0.5, 1.0):
        pace(encoder, done)
        found.append(loop.gates.temperature)
    assert found == pytest.approx([8.0, 4.0, 2.0, 0.5])


@pytest.mark.parametrize("policy", ["conv", "global"])
@pytest.mark.parametrize("budget", [0.0, 0.25, 1.0])
def test_a_budget_draws_usage_to_itself(policy: str, budget: float) -> None:
    method, encoder, loop, objective, batch = ready(policy=policy, budget=budget, budget_weight=100.0)
    phase = method.phases(encoder)[-1]
    train_only(encoder, phase.trainable)
    optimizer = torch.optim.Adam(loop.policy.parameters(), lr=0.1)
    assert phase.loss is not None
    for _ in range(60):
        optimizer.zero_grad()
        phase.loss(encoder, objective, batch, torch.Generator().manual_seed(0)).backward()
        optimizer.step()
    encoder.user(batch.items)
    assert float(loop.usage(loop.taught()).detach()) == pytest.approx(budget, abs=0.06)


def test_usage_counts_no_padding_where_every_step_has_a_route() -> None:
    _, encoder, loop, _, batch = ready()
    with torch.no_grad():
        loop.policy.get_parameter("head.weight").normal_()
    encoder.stem.eval()  # no dropout, which would differ
    told = []
    for extra in (0, 20):
        encoder(torch.nn.functional.pad(batch.items, (extra, 0)))
        told.append(float(loop.usage(loop.taught()).detach()))
    assert told[0] == pytest.approx(told[1], abs=1e-5)
    with pytest.raises(ConfigError, match="reads no user through the blocks"):
        loop.taught()


def test_official_rewards_begin_as_the_published_code_does() -> None:
    method, encoder, loop, *_ = ready(official=True, strategy="rl")
    warm, train = method.phases(encoder)
    assert any(name.startswith("loop.policy.") for name in warm.trainable)
    for phase, kind in ((warm, Hard), (train, Tempered)):
        assert phase.begin is not None
        phase.begin(encoder)
        assert type(loop.gates) is kind
        assert loop.gates.squash
    torch.manual_seed(0)
    even = torch.zeros(4000, 2)
    assert 0.45 < float(loop.gates.baseline(even).mean()) < 0.55
    assert not Hard(1.0, False, False).baseline(even).any()


def test_routes_of_tasks_learned_together_are_not_watched() -> None:
    method, encoder, *_ = ready()
    together = tiny.objective("task", "joint_ml")
    watch = method.phases(encoder)[-1].watch
    assert watch is not None
    assert watch(encoder, together, tiny.data(), PROTOCOL, EVERYBODY) == {}


def test_official_restores_what_the_published_code_does() -> None:
    method, encoder, loop, *_ = ready(official=True)
    assert loop.gates.squash
    assert loop.gates.samples
    assert loop.gates.temperature == 10.0
    pace = method.phases(encoder)[-1].pace
    assert pace is not None
    pace(encoder, 0.7)
    assert loop.gates.temperature == pytest.approx(10.0)
    trained = set(method.phases(encoder)[-1].trainable)
    assert {"stem.table.weight", "loop.policy.table.weight"} <= trained
    assert all(share == 1.0 for _, share in method.phases(encoder)[-1].slower)
    assert not any(name.startswith("blocks.") for name in trained)


def test_official_draws_of_the_reward_carry_the_gradient_of_the_task_and_ours_do_not() -> None:
    for official in (True, False):
        _, encoder, loop, objective, batch = ready(strategy="rl", official=official)
        with torch.no_grad():
            for parameter in loop.tuned.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        objective.loss(encoder, batch, torch.Generator().manual_seed(0)).backward()
        reached = [p for p in loop.policy.parameters() if p.grad is not None and p.grad.abs().any()]
        assert bool(reached) is official


@pytest.mark.parametrize("model", tiny.names("model"))
@pytest.mark.parametrize("tune", ["copy", "patch", "lora"])
def test_a_reward_trains_every_encoder_and_every_kind_of_tuned_side(model: str, tune: str) -> None:
    method, encoder, loop, objective, batch = ready(model, strategy="rl", tune=tune, reward=None)
    method.check(encoder, method.phases(encoder), objective)
    phase = method.phases(encoder)[-1]
    train_only(encoder, phase.trainable)
    assert phase.loss is not None
    loss = phase.loss(encoder, objective, batch, torch.Generator().manual_seed(0))
    loss.backward()
    assert torch.isfinite(loss)
    assert any(p.grad is not None for module in loop.tuned.trained() for p in module.parameters())


def test_a_reward_for_a_class_is_refused() -> None:
    method, encoder, _, objective, _ = ready(task="gender", strategy="rl")
    with pytest.raises(ConfigError, match="strategy=rl rewards a hit"):
        method.check(encoder, method.phases(encoder), objective)


def test_two_evaluations_are_one_and_a_log_says_what_was_decided() -> None:
    trained = tiny.trained("nextitnet", "uaf")
    first, second = (tiny.users(trained.encoder, tiny.histories()) for _ in range(2))
    assert torch.equal(first, second)
    told = watch_routes(trained.encoder, trained.objective, tiny.data(), Protocol(history=tiny.STEPS), EVERYBODY)
    names = ("usage", "usage_deviation", "entropy", "routes", "usage_1", "usage_2")
    assert list(told) == [f"{MARK}{name}" for name in names]


def test_routes_are_summed_up_as_by_hand() -> None:
    route = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    chance = np.array([[0.5, 0.5], [1.0, 0.5], [1.0, 0.0], [0.5, 0.5]])
    told = summary(route, chance)
    assert told["usage"] == 0.5
    assert (told["usage_1"], told["usage_2"]) == (0.75, 0.25)
    assert told["routes"] == 3
    assert told["entropy"] == pytest.approx(5 / 8)
    assert told["usage_deviation"] == pytest.approx(np.std([0.5, 1, 0.5, 0]))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"strategy": "maybe"}, r"method\.strategy is 'maybe'"),
        ({"policy": "oracle"}, r"method\.policy is 'oracle'"),
        ({"tune": "all"}, r"method\.tune is 'all'"),
        ({"embedding": "none"}, r"method\.embedding is 'none'"),
        ({"temperature": 0.0}, r"method\.temperature is 0\.0"),
        ({"temperature_end": -1.0}, r"method\.temperature_end is -1\.0"),
        ({"budget": 1.5}, r"method\.budget is 1\.5"),
        ({"budget": -0.1}, r"method\.budget is -0\.1"),
        ({"usage": 2.0}, r"method\.usage is 2\.0"),
        ({"policy_rate": 0.0}, "policy_rate=0"),
        ({"warm_epochs": -1}, "warm_epochs=-1"),
        ({"temperature": math.inf}, r"method\.temperature is inf"),
        ({"rank": 0}, "rank=0"),
        ({"ratio": 0}, "ratio=0"),
        ({"alpha": -1.0}, r"alpha=-1\.0"),
        ({"strategy": "rl", "policy": "random"}, "policy=random learns nothing"),
        ({"strategy": "soft", "policy": "random"}, "policy=random learns nothing"),
        ({"policy": "random", "budget": 0.5}, "policy=random learns nothing"),
        ({"policy": "random", "squash": True}, "policy=random learns nothing"),
        ({"official": True, "temperature": 2.0}, r"official=true has temperature=10\.0, and 2\.0 was given"),
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        UAF(**wrong)
    assert caught.value.hint

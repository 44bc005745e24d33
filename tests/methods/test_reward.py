"""The reward, and the loss by which it teaches (spec B10, 11 and 14)."""

import numpy as np
import pytest
import tiny
import torch

from userrep.errors import ConfigError
from userrep.methods.reward import Reward, _candidates, check_rewarded, critical_loss
from userrep.methods.routed import Decision, Routed, routed
from userrep.methods.uaf import UAF
from userrep.models.encoder import Encoder
from userrep.objectives.target_items import TargetItems
from userrep.sequences.batches import Batch
from userrep.sequences.protocol import Protocol
from userrep.sequences.vocab import RESERVED

PROTOCOL = Protocol(history=tiny.STEPS, readout="mean")


def test_the_reward_is_the_published_one() -> None:
    hits = torch.tensor([True, True, True, False, False])
    route = torch.zeros(5, 8)
    route[0], route[1, :4], route[3] = 1, 1, 1
    assert Reward().of(hits, route).tolist() == [1.0, 0.75, 0.0, -1.0, -1.0]
    assert Reward(prefers="frozen").of(hits, route).tolist() == [0.0, 0.75, 1.0, -1.0, -1.0]
    assert Reward(gamma=0.5).of(hits, route).tolist() == [1.0, 0.875, 0.5, -0.5, -0.5]


@pytest.mark.parametrize(
    "wrong", [{"gamma": -1.0}, {"top": 0}, {"top": 9, "negatives": 8}, {"prefers": "both"}, {"negatives": 0}]
)
def test_rewards_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"method\.reward"):
        Reward(**wrong)  # type: ignore[arg-type]


def test_negatives_are_every_other_item_alike_and_no_other_id() -> None:
    size, targets = 9, torch.tensor([RESERVED, 5, 8]).repeat(2000)
    drawn = _candidates(targets, 20, size, torch.Generator().manual_seed(0))
    assert torch.equal(drawn[:, 0], targets)
    others = drawn[:, 1:]
    assert others.min() == RESERVED
    assert others.max() == size - 1
    assert (others != targets[:, None]).all()
    for target in (RESERVED, 5, 8):
        counts = torch.bincount(others[targets == target].flatten(), minlength=size)[RESERVED:].double()
        counts = counts[counts > 0]
        assert len(counts) == size - RESERVED - 1
        assert (counts / counts.mean() - 1).abs().max() < 0.05


def made(**options: object) -> tuple[Encoder, Routed, TargetItems, Batch]:
    """Return an encoder with tuned sides of their own, a ranking task, and a batch of it."""
    encoder = tiny.encoder("nextitnet")
    method = UAF(strategy="rl", **options)  # type: ignore[arg-type]
    method.adapt(encoder, "mean")
    loop = routed(encoder)
    assert loop is not None
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in loop.tuned.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    task = tiny.objective("task", "cold_k")
    assert isinstance(task, TargetItems)
    task.setup(encoder, tiny.data(), PROTOCOL)
    feed = task.feed(tiny.data(), PROTOCOL, np.ones(48, dtype=bool), tiny.STEPS, 16)
    return encoder.train(), loop, task.train(), feed.batch(feed.order(np.random.default_rng(0))[0])


def decided(loop: Routed, encoder: Encoder, batch: Batch) -> Decision:
    encoder.user(batch.items)
    assert loop.last is not None
    return loop.last


def test_only_the_policy_learns_from_the_reward() -> None:
    encoder, loop, task, batch = made()
    loss = critical_loss(encoder, loop, decided(loop, encoder, batch), task, batch, Reward(negatives=9), draws())
    loss.backward()
    reached = {name for name, parameter in encoder.named_parameters() if parameter.grad is not None}
    assert reached == {name for name, _ in encoder.named_parameters() if name.startswith("loop.policy.")}
    assert all(parameter.grad is None for parameter in task.parameters())
    assert encoder.training
    assert task.training


def test_the_likelier_route_teaches_nothing() -> None:
    encoder, loop, task, batch = made()
    first = decided(loop, encoder, batch)
    likelier = (loop.gates.margin(first.logits) > 0).float()
    loss = critical_loss(
        encoder, loop, Decision(first.logits, likelier, first.keep), task, batch, Reward(negatives=9), draws()
    )
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(not p.grad.abs().any() for p in loop.policy.parameters() if p.grad is not None)


def test_the_loss_is_the_advantage_times_the_log_chance_of_what_was_drawn() -> None:
    encoder, loop, task, batch = made(tune="copy")
    reward, decision = Reward(negatives=9, top=3), decided(loop, encoder, batch)
    loss = critical_loss(encoder, loop, decision, task, batch, reward, draws())
    encoder.eval(), task.eval()
    candidates = _candidates(batch.targets, 9, len(task.table), draws())
    logits, drawn = decision.logits.squeeze(1), decision.route.squeeze(1)
    wanted = 0.0
    for row in range(len(batch.targets)):
        rewards = []
        for route in (drawn[row], (logits[row, :, 0] > logits[row, :, 1]).float()):
            with loop.given(route), torch.no_grad():
                state = task.states_of(encoder, batch.items[row : row + 1])[0]
            scores = task.table[candidates[row]] @ state
            hit = (scores[1:] >= scores[0]).sum() < 3
            share = float(route.mean())
            rewards.append(1 - (1 - share) ** 2 if hit else -1.0)
        chance = torch.log_softmax(logits[row].detach(), dim=-1)
        log_chance = sum(float(chance[block, 0 if drawn[row, block] else 1]) for block in range(loop.count))
        wanted -= (rewards[0] - rewards[1]) * log_chance / len(batch.targets)
    assert float(loss.detach()) == pytest.approx(wanted, abs=1e-5)
    assert wanted != 0


@pytest.mark.parametrize("task", ["gender", "next_item"])
def test_a_task_that_ranks_no_answer_for_a_user_has_no_reward(task: str) -> None:
    with pytest.raises(ConfigError, match="strategy=rl rewards a hit among ranked items"):
        check_rewarded(tiny.objective("task", task))
    check_rewarded(tiny.objective("task", "cold_first"))


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(5)

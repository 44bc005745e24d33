"""Several objectives learned from the same batches: what each loss is, whose batches and numbers, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from loop import KINDS, advance, assert_same, finish, make_job
from torch import Tensor, nn

from userrep.errors import ConfigError, UserRepError
from userrep.evaluation.results import Metrics
from userrep.methods.method import Phase
from userrep.models.encoder import Encoder
from userrep.objectives.all_action import AllAction
from userrep.objectives.classify import Classify
from userrep.objectives.cloze import Cloze
from userrep.objectives.joint import Joint
from userrep.objectives.next_item import NextItem
from userrep.objectives.objective import ROLES, Objective
from userrep.objectives.together import Together
from userrep.sequences.batches import Batch, Feed, Windows
from userrep.sequences.exposure import Exposure, united
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared

PROTOCOL = Protocol(history=tiny.STEPS, readout="mean")
EVERYBODY = np.ones(48, dtype=bool)


class Near(Objective):
    """Draw a point and pull the users of a batch towards it: reads items alone, as what compares views does."""

    takes = Batch

    def setup(self, encoder: Encoder, data: Prepared, protocol: Protocol) -> None:
        self.head = nn.Linear(encoder.width, 3)

    def feed(self, data: Prepared, protocol: Protocol, users: np.ndarray, length: int, batch_size: int) -> Feed:
        sequences = data.sequences()
        rows = np.flatnonzero(users)
        return Windows(sequences.items, sequences.offsets[rows], sequences.offsets[rows + 1], rows, length, 3)

    def loss(self, encoder: Encoder, batch: Batch, generator: torch.Generator) -> Tensor:
        wanted = torch.randn(3, generator=generator)
        return (self.head(encoder(batch.items)[:, -1]) - wanted).square().mean()

    def validate(self, encoder: Encoder, data: Prepared, protocol: Protocol, users: np.ndarray) -> Metrics:
        return {"users": float(users.sum())}

    def exposure(self, data: Prepared, protocol: Protocol, users: np.ndarray) -> Exposure:
        return Exposure(inputs={"main": np.ones(len(data.sequences().items), dtype=bool)})


def parts() -> dict[str, Objective]:
    return {
        "next": NextItem(loss="sampled", negatives=8, tied=False),
        "near": Near(),
        "later": AllAction(window=4, actions=2, positions=0.5),
    }


def ready(weights: dict[str, float] | None = None, lead: str = "later") -> tuple[Encoder, Together]:
    encoder, together = tiny.encoder("nextitnet_paper"), Together(parts(), weights, lead)
    together.setup(encoder, tiny.data(), PROTOCOL)
    with torch.no_grad():
        for parameter in together.parameters():
            nn.init.normal_(parameter, std=0.5)
    return encoder, together


def drawn(objective: Objective, seed: int = 0) -> list[Batch]:
    feed = objective.feed(tiny.data(), PROTOCOL, EVERYBODY, tiny.STEPS, 8)
    return [feed.batch(index) for index in feed.order(np.random.default_rng(seed))]


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def gradients(loss: Tensor, *modules: nn.Module) -> list[Tensor | None]:
    found = [parameter for module in modules for parameter in module.parameters()]
    return list(torch.autograd.grad(loss, found, allow_unused=True))


WEIGHTS = {"next": 0.5, "near": 3.0}


def test_the_loss_is_the_weighted_sum_of_the_parts_which_draw_one_after_the_other() -> None:
    encoder, together = ready(WEIGHTS)
    batch = drawn(together)[0]
    found = together.loss(encoder, batch, draws())
    shared, alone = draws(), {}
    for name in ("next", "near", "later"):
        alone[name] = together.parts[name].loss(encoder, batch, shared)
    expected = 0.5 * alone["next"] + 3 * alone["near"] + alone["later"]
    torch.testing.assert_close(found, expected)
    assert {name: float(share) for name, share in together.told.items()} == {
        name: pytest.approx(WEIGHTS.get(name, 1) * loss.item()) for name, loss in alone.items()
    }
    other = Together(dict(reversed(together.parts.items())), WEIGHTS, "later")
    assert other.loss(encoder, batch, draws()) != found  # another order draws otherwise


def test_its_gradient_is_the_weighted_sum_of_those_of_the_parts() -> None:
    encoder, together = ready(WEIGHTS)
    batch, shared = drawn(together)[0], draws()
    found = gradients(together.loss(encoder, batch, draws()), encoder, together)
    expected = [torch.zeros_like(parameter) for one in (encoder, together) for parameter in one.parameters()]
    for name, part in together.parts.items():
        alone = gradients(part.loss(encoder, batch, shared), encoder, together)
        for total, own in zip(expected, alone, strict=True):
            total += 0 if own is None else WEIGHTS.get(name, 1) * own
    assert sum(float(each.abs().sum()) > 0 for each in expected) > 5
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(theirs if mine is None else mine, theirs)


@pytest.mark.parametrize("lead", ["later", "next"])
def test_batches_are_those_of_the_leading_part_alone(lead: str) -> None:
    _, together = ready() if lead == "later" else (None, Together({"near": Near(), "next": NextItem()}, lead="next"))
    mine, alone = drawn(together, 3), drawn(together.parts[lead], 3)
    assert len(mine) == len(alone) > 1
    for one, other in zip(mine, alone, strict=True):
        assert type(one) is type(other)
        assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("items", "targets", "rows"))


def test_the_first_part_leads_where_none_is_named() -> None:
    assert Together({"next": NextItem(), "near": Near()}).lead == "next"


def test_numbers_cases_and_answers_are_those_of_the_leading_part() -> None:
    encoder, together = ready()
    lead, data = together.parts["later"], tiny.data()
    assert together.leader is lead
    assert lead.leader is lead
    assert (together.kind, together.metric, together.maximise) == ("ranking", "ndcg@10", True)
    assert (together.task_name, together.splits) == ("next_item", ("events",))
    for role in ROLES:
        assert together.cases(data, PROTOCOL, role).ends.tolist() == lead.cases(data, PROTOCOL, role).ends.tolist()
    assert (
        together.evaluate(encoder, data, PROTOCOL, "test").metrics()
        == lead.evaluate(encoder, data, PROTOCOL, "test").metrics()
    )
    assert torch.equal(together.scores(encoder, tiny.histories()), lead.scores(encoder, tiny.histories()))


def test_an_epoch_is_logged_with_the_numbers_of_every_part() -> None:
    encoder, together = ready()
    some = EVERYBODY.copy()
    some[::2] = False
    found = together.validate(encoder, tiny.data(), PROTOCOL, some)
    lead, other = (
        together.parts[name].evaluate(encoder, tiny.data(), PROTOCOL, "valid", some).metrics()
        for name in ("later", "next")
    )
    assert found == lead | {f"next/{name}": value for name, value in other.items()} | {"near/users": 24.0}
    assert lead != other


def test_what_is_read_and_asked_for_is_that_of_all_parts() -> None:
    _, together = ready()
    said = together.exposure(tiny.data(), PROTOCOL, EVERYBODY)
    both = united([part.exposure(tiny.data(), PROTOCOL, EVERYBODY) for part in together.parts.values()])
    assert said.inputs["main"].all()
    assert (said.answers["main"] == both.answers["main"]).all()
    assert not said.answers["main"].all()


def test_a_label_may_lead_and_is_told_as_alone() -> None:
    together = Together({"gender": Classify("gender", dropout=0.0), "near": Near()}, {"near": 0.1})
    encoder = tiny.encoder("nextitnet_paper")
    together.setup(encoder, tiny.data(), PROTOCOL)
    assert (together.kind, together.metric, together.maximise) == ("classification", "log_loss", False)
    assert together.splits == ("users",)
    feed = together.feed(tiny.data(), PROTOCOL, EVERYBODY, tiny.STEPS, 8)
    kept = together.cached(feed, encoder.eval(), tiny.data(), PROTOCOL)
    batch = kept.batch(kept.order(np.random.default_rng(0))[0])
    assert batch.user is not None
    assert together.loss(encoder, batch, draws()).isfinite()


@pytest.fixture
def together_kind(monkeypatch: pytest.MonkeyPatch) -> str:
    """Teach the tests of the loop a kind of job."""

    def both(encoder: Encoder) -> tuple[Objective, list[Phase], str]:
        return (
            Together({"next": NextItem(loss="sampled", negatives=8), "near": Near()}, {"near": 0.5}),
            [Phase("train", ("*",))],
            "last",
        )

    monkeypatch.setitem(KINDS, "together", both)
    return "together"


def test_a_run_that_was_killed_ends_the_same_and_tells_its_loss_by_parts(
    prepared: Prepared, tmp_path: Path, together_kind: str
) -> None:
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 80, "checkpoint_seconds": 0, "validate_users": 20}
    whole = finish(make_job(prepared, tmp_path / "whole", together_kind, **settings))
    assert not advance(make_job(prepared, tmp_path / "cut", together_kind, **settings), 3)
    assert_same(finish(make_job(prepared, tmp_path / "cut", together_kind, **settings)), whole)
    last = whole[2][-1]
    assert last["loss:next"] + last["loss:near"] == pytest.approx(last["loss"], rel=1e-6)
    assert last["loss:near"] > 0
    assert last["near/users"] == 20


def test_an_encoder_that_a_part_cannot_be_learned_with_is_refused() -> None:
    both_ways = Together({"near": Near(), "cloze": Cloze()}, lead="cloze")
    assert both_ways.needs_causal is False
    with pytest.raises(ConfigError, match="both ways") as caught:
        both_ways.setup(tiny.encoder("nextitnet_paper"), tiny.data(), PROTOCOL)
    assert "choose" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "told", "remedy"),
    [
        ({"parts": {"next": NextItem(), "cloze": Cloze()}}, "next needs one that reads from left", "two runs"),
        ({"parts": {"next": NextItem(), "later": AllAction()}}, "part later cannot learn", "let part later lead"),
        ({"parts": {"near": Near(), "next": NextItem()}}, "part next cannot learn", "let part next lead"),
        ({"parts": {"next": NextItem(), "gender": Classify("gender")}}, "part gender cannot learn", "such as clue"),
        ({"parts": {"one": Cloze(), "two": Cloze()}}, "part two cannot learn", "such as clue"),
        ({"parts": {"next": NextItem()}, "lead": "nexd"}, "no part 'nexd' to lead", "next"),
        ({"parts": {"next": NextItem()}, "weights": {"next": 0.0}}, "weight of part next is 0.0", "positive"),
        ({"parts": {"one": Joint({"next": NextItem()})}}, "part one is no task", "no joint one"),
        ({"parts": {"one": Together({"next": NextItem()})}}, "part one is no task", "no joint one"),
    ],
)
def test_what_cannot_be_learned_together_is_refused_with_a_remedy(options: dict, told: str, remedy: str) -> None:
    with pytest.raises(UserRepError) as caught:
        Together(**options)
    assert told in caught.value.message
    assert remedy in caught.value.hint

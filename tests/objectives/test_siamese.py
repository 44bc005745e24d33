"""Objectives that compare two views of a user: their losses, gradients, heads, batches and numbers (spec A8)."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from two_views import EVERYBODY, KINDS, PROTOCOL, batches, draws, every_kind, ready, vectors

from userrep.errors import ConfigError
from userrep.objectives.clue import Clue
from userrep.objectives.clue_infonce import ClueInfoNce
from userrep.objectives.guard import Guard
from userrep.objectives.next_item import NextItem
from userrep.objectives.together import Together
from userrep.sequences.vocab import PAD, RESERVED


def plain_clue(**own: Any) -> Clue:
    """Return CLUE with a linear predictor in double, without batch norm: a function of each row alone."""
    objective = Clue(**own)
    torch.manual_seed(0)
    objective.predictor = nn.Linear(5, 5).double()
    return objective


def test_clue_equals_a_loop_over_users_and_is_the_squared_distance_of_unit_vectors() -> None:
    left, right = vectors()
    objective = plain_clue()
    cosines = []
    for seen, other in ((left, right), (right, left)):
        for one, two in zip(objective.predictor(seen), other, strict=True):
            cosines.append(float((one @ two / (one.norm() * two.norm())).detach()))
    loss = objective.compare(left, right, torch.arange(6))
    loss = loss.detach()
    assert float(loss) == pytest.approx(-sum(cosines) / len(cosines))
    assert -1 <= float(loss) <= 1
    distances = [
        (F.normalize(objective.predictor(seen), dim=-1) - F.normalize(other, dim=-1)).square().sum(dim=-1)
        for seen, other in ((left, right), (right, left))
    ]
    assert float(loss) == pytest.approx(float(torch.cat(distances).detach().mean()) / 2 - 1)


@every_kind
def test_the_loss_is_the_same_with_the_views_swapped(kind: str) -> None:
    left, right = vectors()
    objective = plain_clue() if kind == "clue" else ClueInfoNce()
    torch.testing.assert_close(*(objective.compare(*pair, torch.arange(6)) for pair in ((left, right), (right, left))))


def test_no_gradient_reaches_the_side_that_is_held_and_the_other_has_that_of_its_path_alone() -> None:
    left, right = (view.requires_grad_() for view in vectors())
    objective = plain_clue()
    grads = torch.autograd.grad(objective.compare(left, right, torch.arange(6)), (left, right))
    for seen, other, grad in ((left, right, grads[0]), (right, left, grads[1])):
        alone = -F.cosine_similarity(objective.predictor(seen), other.detach(), dim=-1).mean() / 2
        torch.testing.assert_close(grad, *torch.autograd.grad(alone, seen))


def test_with_no_predictor_and_equal_views_nothing_pulls_at_the_encoder() -> None:
    left, _ = (view.requires_grad_() for view in vectors())
    objective = Clue(predictor=0)
    objective.predictor = nn.Identity()
    loss = objective.compare(left, left.detach().clone().requires_grad_(), torch.arange(6))
    (grad,) = torch.autograd.grad(loss, left)
    assert float(loss) == pytest.approx(-1)
    assert grad.abs().max() < 1e-12


def test_infonce_equals_a_loop_over_the_views_of_a_batch() -> None:
    left, right = vectors()
    owners = [0, 1, 2, 0, 4, 5]  # two windows of user 0 are no negatives of each other
    views = [F.normalize(view, dim=0) for view in (*left, *right)]
    losses = []
    for place, view in enumerate(views):
        partner = (place + 6) % 12
        others = [two for two in range(12) if owners[two % 6] != owners[place % 6] or two == partner]
        scores = torch.stack([view @ views[two] / 0.3 for two in others])
        losses.append(scores.logsumexp(0) - view @ views[partner] / 0.3)
    found = ClueInfoNce(temperature=0.3).compare(left, right, torch.tensor(owners))
    torch.testing.assert_close(found, torch.stack(losses).mean())


def test_infonce_of_aligned_users_at_right_angles_and_of_one_point_is_as_computed_by_hand() -> None:
    users, temperature = 4, 0.5
    axes, rows = torch.eye(users, dtype=torch.float64), torch.arange(users)
    aligned = ClueInfoNce(temperature=temperature).compare(axes, axes, rows)
    assert float(aligned) == pytest.approx(math.log(1 + (2 * users - 2) * math.exp(-1 / temperature)))
    one = torch.ones(users, 3, dtype=torch.float64)
    assert float(ClueInfoNce().compare(one, one, rows)) == pytest.approx(math.log(2 * users - 1))


@every_kind
def test_dropout_alone_makes_two_views_and_evaluation_makes_one(kind: str) -> None:
    encoder, objective = ready(kind)
    items = batches(objective)[0].items
    first, second = (encoder.user(objective.views.draw(items, draws())) for _ in range(2))
    assert not torch.equal(first, second)
    encoder.eval()
    assert torch.equal(encoder.user(items), encoder.user(items))


@every_kind
def test_an_encoder_without_dropout_needs_an_explicit_view(kind: str) -> None:
    with pytest.raises(ConfigError, match="views of a user would be equal") as caught:
        ready(kind, dropout=0.0)
    assert "model.dropout" in caught.value.hint
    encoder, objective = ready(kind, dropout=0.0, mask=0.3)
    assert objective.loss(encoder, batches(objective)[0], draws()).requires_grad
    ready(kind, model="gru4rec", crop=0.2, dropout=0.0)


def test_a_seed_repeats_the_loss_and_the_views_of_a_step_differ() -> None:
    encoder, objective = ready(mask=0.3)
    batch = batches(objective)[0]
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(objective.loss(encoder, batch, draws(seed)))
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[0], losses[2])


@pytest.mark.parametrize("model", ["sasrec", "bert4rec", "gru4rec", "nextitnet"])
def test_a_token_behind_the_history_is_trained_and_padding_moves_no_user_vector(model: str) -> None:
    encoder, objective = ready(model=model)
    batch = batches(objective)[0]
    table = encoder.stem.table.weight
    assert isinstance(table, Tensor)
    padding = table[PAD].detach().clone()
    optimizer = torch.optim.SGD([*encoder.parameters(), *objective.parameters()], lr=0.1)
    objective.loss(encoder, batch, draws()).backward()
    assert encoder.token is not None
    assert encoder.token.grad is not None
    assert encoder.token.grad.abs().sum() > 0
    optimizer.step()
    assert torch.equal(table[PAD], padding)
    encoder.eval()
    longer = F.pad(batch.items, (3, 0))
    torch.testing.assert_close(encoder.user(longer), encoder.user(batch.items), rtol=1e-5, atol=1e-6)


@every_kind
def test_each_view_goes_through_the_batch_norms_by_itself(kind: str) -> None:
    encoder, objective = ready(kind)
    objective.loss(encoder, batches(objective)[0], draws())
    norms = [module for module in objective.projector.modules() if isinstance(module, nn.BatchNorm1d)]
    assert [int(norm.num_batches_tracked) for norm in norms] == [2, 2, 2]
    assert [norm.affine for norm in norms] == [True, True, False]


def test_the_widths_of_the_heads_are_the_usual_ones_or_what_is_set() -> None:
    encoder, objective = ready()
    shapes = [tuple(p.shape) for p in objective.parameters() if p.ndim == 2]
    width = encoder.width
    assert shapes == [(4 * width, width), (4 * width,) * 2, (4 * width,) * 2, (width, 4 * width), (4 * width, width)]
    _, other = ready(projected=10, predictor=3)
    shapes = [tuple(p.shape) for p in other.parameters() if p.ndim == 2]
    assert shapes == [(10, width), (10, 10), (10, 10), (3, 10), (10, 3)]


@every_kind
def test_the_loss_is_made_in_fp32_under_autocast(kind: str) -> None:
    encoder, objective = ready(kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = objective.loss(encoder, batches(objective)[0], draws())
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


@every_kind
def test_a_user_alone_in_the_batch_of_another_objective_adds_nothing(kind: str) -> None:
    encoder, objective = ready(kind)
    batch = batches(objective)[0]
    alone = replace(batch, items=batch.items[:1], targets=batch.targets[:1], rows=batch.rows[:1])
    loss = objective.loss(encoder, alone, draws())
    assert float(loss) == 0
    assert loss.requires_grad


# Beside other objectives


def test_together_with_next_item_both_losses_are_made_of_the_same_windows() -> None:
    encoder, _ = ready()
    together = Together({"next_item": NextItem(), "clue": Clue(mask=0.2)}, {"clue": 0.5}, "next_item")
    together.setup(encoder, tiny.data(), PROTOCOL)
    assert together.reads_users
    assert together.least == -0.5
    feed = together.feed(tiny.data(), PROTOCOL, EVERYBODY, tiny.STEPS, 8)
    batch = feed.batch(feed.order(np.random.default_rng(0))[0])
    encoder.eval()  # no dropout, so that the parts alone have the same losses
    whole = together.loss(encoder, batch, draws())
    own = draws()
    parts = [together.weights[name] * part.loss(encoder, batch, own) for name, part in together.parts.items()]
    torch.testing.assert_close(whole, sum(parts))
    assert set(together.validate(encoder, tiny.data(), PROTOCOL, EVERYBODY)) >= {"ndcg@10", "clue/effective_rank"}


# Numbers


@every_kind
def test_users_are_told_by_the_halves_of_their_events_against_a_loop(kind: str) -> None:
    encoder, objective = ready(kind, judged=20)
    encoder.eval()
    data = tiny.data()
    sequences, cases = data.sequences(), objective.cases(data, PROTOCOL, "valid")
    assert len(cases) == 20

    def encode(begin: int, end: int) -> Tensor:
        items = torch.from_numpy(sequences.items[begin:end].astype(np.int64))[-tiny.STEPS :]
        return F.normalize(encoder.user(F.pad(items, (tiny.STEPS - len(items), 0)).unsqueeze(0)), dim=-1)[0]

    with torch.inference_mode():
        bounds = [(int(sequences.offsets[row]), int(end)) for row, end in zip(cases.rows, cases.ends, strict=True)]
        newer = torch.stack([encode((begin + end) // 2, end) for begin, end in bounds])
        older = torch.stack([encode(begin, (begin + end) // 2) for begin, end in bounds])
    cosines = older @ newer.T
    found = objective.evaluate(encoder, data, PROTOCOL, "valid")
    assert found.greater.tolist() == cosines.gt(cosines.diagonal().unsqueeze(1)).sum(dim=1).tolist()
    assert (cases.targets == RESERVED + np.arange(20)).all()


def test_validation_reads_training_events_alone_and_the_whole_history_is_for_the_test() -> None:
    _, objective = ready()
    data = tiny.data()
    split, offsets = data.split(PROTOCOL.events), data.sequences().offsets
    for role, ends in (("valid", offsets[:-1] + split.train_end), ("test", offsets[1:])):
        cases = objective.cases(data, PROTOCOL, role)
        assert (cases.ends == ends[cases.rows]).all()


def test_geometry_is_that_of_the_vectors_and_leaves_training_as_it_was() -> None:
    encoder, objective = ready()
    encoder.eval()
    objective.eval()
    data = tiny.data()
    before = torch.get_rng_state()
    cases = objective.cases(data, PROTOCOL, "valid")
    encoder.final.train()
    found, again = (objective.geometry(encoder, data, PROTOCOL, cases) for _ in range(2))
    assert found == again
    assert torch.equal(torch.get_rng_state(), before)
    assert not encoder.training
    assert encoder.final.training  # every module is as it was
    assert 1 < found["effective_rank"] <= encoder.user_width
    assert found["alignment"] > 0
    assert found["uniformity"] < 0


def test_the_guard_equals_a_loop_over_channels() -> None:
    users, _ = vectors(9, 4)
    users = users.float()
    centred = users - users.mean(dim=0)
    covariance = [[float((centred[:, a] * centred[:, b]).sum() / 8) for b in range(4)] for a in range(4)]
    hinge = sum(max(0.0, 1 - math.sqrt(covariance[a][a] + 1e-4)) for a in range(4)) / 4
    off = sum(covariance[a][b] ** 2 for a in range(4) for b in range(4) if a != b) / 4
    assert float(Guard(2.0, 3.0)(users)) == pytest.approx(2 * hinge + 3 * off, rel=1e-5)
    encoder, objective = ready(variance=1.0, covariance=0.5)
    loss = objective.loss(encoder, batches(objective)[0], draws())
    assert set(objective.told) == {"views", "guard"}
    torch.testing.assert_close(sum(objective.told.values()), loss.detach())


@pytest.mark.parametrize(
    ("kind", "own", "message"),
    [
        ("clue", {"cut": "oldest"}, "cut is 'oldest'"),
        ("clue", {"judged": 1}, "judged is 1"),
        ("clue", {"projected": 0}, "projected is 0"),
        ("clue", {"predictor": -1}, "predictor is -1"),
        ("clue", {"variance": -1.0}, "variance is -1"),
        ("clue", {"on_collapse": "pray"}, "on_collapse is 'pray'"),
        ("clue", {"crop": 1.0}, "crop is 1.0"),
        ("clue", {"covariance": math.inf}, "covariance is inf"),
        ("infonce", {"temperature": 0.0}, "temperature is 0"),
        ("infonce", {"temperature": math.inf}, "temperature is inf"),
    ],
)
def test_settings_that_cannot_be_are_refused(kind: str, own: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        KINDS[kind](**own)

"""The laws of objectives, for every yaml in conf/objective and conf/task."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from userrep.errors import ConfigError
from userrep.models.encoder import Encoder
from userrep.objectives.objective import ROLES, Objective
from userrep.objectives.ranking import Ranking
from userrep.objectives.siamese import Siamese
from userrep.sequences.batches import Batch, Cases, Feed
from userrep.sequences.protocol import Protocol
from userrep.sequences.vocab import RESERVED
from userrep.training.tables import marked

PROTOCOL = Protocol(history=tiny.STEPS, readout="mean")
OBJECTIVES = [(group, name) for group in ("objective", "task") for name in tiny.names(group)]
every_objective = pytest.mark.parametrize(("group", "name"), OBJECTIVES, ids=["-".join(pair) for pair in OBJECTIVES])


MODELS = {True: "nextitnet_paper", False: "bert4rec"}  # by whether they are causal; without dropout once evaluating


def ready(group: str, name: str, **changes: object) -> tuple[Encoder, Objective]:
    """Build an objective and a small encoder that it can be learned with."""
    objective = tiny.objective(group, name, **changes)
    encoder = tiny.encoder(MODELS[objective.needs_causal is not False], **differing(objective))
    objective.setup(encoder, tiny.data(), PROTOCOL)
    return encoder, objective


def differing(objective: Objective) -> dict[str, float]:
    """Return what an encoder needs beside its yaml, so that two views of a user can differ where they are compared."""
    return {"dropout": 0.1} if objective.reads_users else {}


def single(group: str, name: str, **changes: object) -> Objective:
    """Build an objective that asks one question; the parts of a joint one have yamls and rows of their own."""
    _, objective = ready(group, name, **changes)
    if objective.kind == "joint":
        pytest.skip("it cuts and asks as its parts do: tests/objectives/test_joint.py")
    if isinstance(objective.leader, Siamese):
        pytest.skip("it asks for users, and for no event or label: tests/objectives/test_siamese.py")
    return objective


def everybody() -> np.ndarray:
    return np.ones(tiny.data().num_users, dtype=bool)


def feed_of(objective: Objective, users: np.ndarray | None = None, batch_size: int = 16) -> Feed:
    chosen = everybody() if users is None else users
    return objective.feed(tiny.data(), PROTOCOL, chosen, tiny.STEPS, batch_size)


def batches(feed: Feed, seed: int = 0) -> list[Batch]:
    return [feed.batch(index) for index in feed.order(np.random.default_rng(seed))]


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@every_objective
def test_cases_of_a_role_read_nothing_of_what_they_ask(group: str, name: str) -> None:
    objective = single(group, name)
    data, sequences = tiny.data(), tiny.data().sequences()
    for role in ROLES:
        cases = objective.cases(data, PROTOCOL, role)
        assert len(cases) > 0
        assert len(set(cases.rows.tolist())) == len(cases) or getattr(objective, "which", "one") == "all"
        assert (cases.ends <= sequences.offsets[cases.rows + 1]).all()
        assert (cases.ends >= sequences.offsets[cases.rows]).all()
        if "users" not in objective.splits:
            assert_next_event_of_the_role(cases, role)
        else:
            split = data.split(PROTOCOL.users, PROTOCOL.fold)
            assert (split.user_role[cases.rows] == ROLES[role]).all()


def assert_next_event_of_the_role(cases: Cases, role: str) -> None:
    sequences, split = tiny.data().sequences(), tiny.data().split(PROTOCOL.events)
    assert (sequences.items[cases.ends] == cases.targets).all()
    position = cases.ends - sequences.offsets[cases.rows]
    bounds = (0, split.train_end, split.valid_end, np.diff(sequences.offsets))
    low, high = bounds[ROLES[role]], bounds[ROLES[role] + 1]
    assert (position >= (low if isinstance(low, int) else low[cases.rows])).all()
    assert (position < high[cases.rows]).all()
    assert (position > 0).all()


@every_objective
def test_training_sees_no_held_out_event_and_no_user_outside_the_mask(group: str, name: str) -> None:
    objective = single(group, name, recent=None)
    data, sequences = tiny.data(), tiny.data().sequences()
    users = everybody()
    users[::2] = False
    seen = batches(feed_of(objective, users))
    rows = torch.cat([batch.rows for batch in seen]).numpy()
    assert users[rows].all()
    if "users" in objective.splits:
        split = data.split(PROTOCOL.users, PROTOCOL.fold)
        assert (split.user_role[rows] == ROLES["train"]).all()
        return
    wanted = np.zeros(sequences.vocab_size, dtype=np.int64)
    split = data.split(PROTOCOL.events)
    least = getattr(objective, "min_rating", None)
    answers = np.ones(len(sequences.items), dtype=bool) if least is None else sequences.ratings >= least
    unasked = 0 if objective.needs_causal is False else 1  # from one side nothing tells of a first event
    for row in np.flatnonzero(users):
        own = slice(sequences.offsets[row] + unasked, sequences.offsets[row] + split.train_end[row])
        np.add.at(wanted, sequences.items[own][answers[own]], 1)
    targets = torch.cat([batch.targets.flatten() for batch in seen])
    found = torch.bincount(targets, minlength=sequences.vocab_size)
    assert found[1:].tolist() == wanted[1:].tolist()


def pairs(rows: np.ndarray, items: np.ndarray) -> set[tuple[int, int]]:
    """Return who has which item, padding and masks left out."""
    real = items >= RESERVED
    return set(zip(rows[real].tolist(), items[real].tolist(), strict=True))


@every_objective
def test_an_objective_says_what_its_training_reads_and_what_it_is_judged_by(group: str, name: str) -> None:
    objective = single(group, name)
    asking = objective.leader
    data, users = tiny.data(), everybody()
    users[::2] = False
    said = objective.exposure(data, PROTOCOL, users)
    inputs = objective.inputs(data, PROTOCOL)
    read, owners = said.inputs[inputs.name], inputs.owners()
    for batch in batches(feed_of(objective, users)):
        rows = batch.rows[:, None].expand(batch.items.shape)
        assert pairs(rows.numpy(), batch.items.numpy()) <= pairs(owners[read], inputs.items[read])
        if isinstance(asking, Ranking):
            asked = asking.targets(data, PROTOCOL)
            taught, rows = said.answers[asked.name], batch.rows.reshape(-1, *[1] * (batch.targets.ndim - 1))
            found = pairs(rows.expand(batch.targets.shape).numpy(), batch.targets.numpy())
            assert found <= pairs(asked.owners()[taught], asked.items[taught])
        else:
            assert said.taught[batch.rows.numpy()].all()
    for role in ("valid", "test"):
        cases = objective.cases(data, PROTOCOL, role)
        if isinstance(asking, Ranking):
            judged = said.judged[role][asked.name]
            assert sorted(cases.targets.tolist()) == sorted(asked.items[judged].tolist())
        else:
            assert np.flatnonzero(said.examined[role]).tolist() == sorted(cases.rows.tolist())


@every_objective
def test_the_loss_is_a_finite_scalar_that_reaches_encoder_and_heads(group: str, name: str) -> None:
    encoder, objective = ready(group, name)
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.normal_(generator=draws())
    for batch in batches(feed_of(objective)):  # of several tasks, each has batches of its own
        loss = objective.loss(encoder, batch, draws())
        loss.backward()
        assert loss.shape == ()
        assert torch.isfinite(loss)
    heads = [parameter.grad for parameter in objective.parameters()]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in heads)
    assert all(parameter.grad is not None for parameter in encoder.blocks.parameters())


@every_objective
def test_the_loss_draws_from_the_generator_it_is_given_and_from_nothing_else(group: str, name: str) -> None:
    encoder, objective = ready(group, name)
    batch = batches(feed_of(objective))[0]
    before = torch.get_rng_state()
    first, again = (objective.loss(encoder, batch, draws(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)


@every_objective
def test_more_padding_moves_no_loss(group: str, name: str) -> None:
    encoder, objective = ready(group, name)
    batch = batches(feed_of(objective))[0]
    items = torch.nn.functional.pad(batch.items, (4, 0))
    targets = torch.nn.functional.pad(batch.targets, (4, 0)) if batch.targets.ndim == 2 else batch.targets
    padded = objective.loss(encoder, replace(batch, items=items, targets=targets), draws())
    torch.testing.assert_close(padded, objective.loss(encoder, batch, draws()), rtol=1e-5, atol=1e-6)


LEARNABLE = {"window": 1, "which": "first"}  # which of several answers to one history is meant, no weights can know


@every_objective
def test_one_batch_can_be_learnt_by_heart(group: str, name: str) -> None:
    encoder, objective = ready(group, name, **LEARNABLE)
    drawn = batches(feed_of(objective, batch_size=6))
    batch = next(batch for batch in drawn if len(batch.items.unique(dim=0)) == len(batch.items))  # as above
    optimizer = torch.optim.Adam([*encoder.parameters(), *objective.parameters()], lr=0.02)
    losses: list[float] = []
    while len(losses) < 120 and (len(losses) < 2 or losses[-1] >= 0.05 * losses[0]):
        asked = 0 if objective.needs_causal is False else len(losses)  # another mask is another question
        loss = objective.loss(encoder.train(), batch, draws(asked))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item() - objective.least)
    assert losses[-1] < 0.05 * losses[0]


@every_objective
def test_evaluation_draws_no_random_number_and_repeats_bit_for_bit(group: str, name: str) -> None:
    encoder, objective = ready(group, name)
    encoder.eval()
    objective.eval()
    feed_of(objective)
    before = torch.get_rng_state()
    first, again = (objective.evaluate(encoder, tiny.data(), PROTOCOL, "test") for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert first.kind == objective.kind
    assert objective.metric in first.metrics()
    for left, right in zip(first.table().values(), again.table().values(), strict=True):
        np.testing.assert_array_equal(left, right)


@every_objective
def test_evaluation_of_some_users_gives_them_the_rows_they_have_among_all(group: str, name: str) -> None:
    encoder, objective = ready(group, name)
    encoder.eval()
    objective.eval()
    role = "train" if objective.kind == "classification" else "valid"
    some = everybody()
    some[::3] = False
    everyone = objective.evaluate(encoder, tiny.data(), PROTOCOL, role)
    part = objective.evaluate(encoder, tiny.data(), PROTOCOL, role, some)
    assert part.users.tolist() == [row for row in everyone.users.tolist() if some[row]]
    kept = everyone.subset(some[everyone.users])
    for name_, column in part.table().items():
        if column.dtype.kind == "U":
            np.testing.assert_array_equal(column, kept.table()[name_])
        else:
            np.testing.assert_allclose(column, kept.table()[name_], rtol=1e-5, err_msg=name_)


@every_objective
def test_an_encoder_that_reads_in_the_wrong_direction_is_refused_with_a_way_out(group: str, name: str) -> None:
    objective = tiny.objective(group, name)
    if objective.needs_causal is None:
        for model in MODELS.values():
            objective.setup(tiny.encoder(model, **differing(objective)), tiny.data(), PROTOCOL)
        return
    with pytest.raises(ConfigError, match=r"both ways|later items") as caught:
        objective.setup(tiny.encoder(MODELS[not objective.needs_causal], **differing(objective)), tiny.data(), PROTOCOL)
    assert "choose" in caught.value.hint


@every_objective
def test_tables_that_are_said_to_be_read_by_row_get_the_same_gradient_row_by_row(group: str, name: str) -> None:
    encoder, objective = ready(group, name)
    batch = next(iter(batches(feed_of(objective))))
    tables = objective.read_by_row(encoder)

    def gradients() -> list[torch.Tensor]:
        for parameter in (*encoder.parameters(), *objective.parameters()):
            parameter.grad = None
        torch.manual_seed(0)
        objective.loss(encoder, batch, torch.Generator().manual_seed(0)).backward()
        return [table.grad for table in tables if table.grad is not None]

    dense = gradients()
    marked((encoder, objective), tables)
    sparse = gradients()
    assert all(found.is_sparse for found in sparse)
    for own, other in zip(sparse, dense, strict=True):
        torch.testing.assert_close(own.to_dense(), other)
    marked((encoder, objective), [])
    assert not any(found.is_sparse for found in gradients())


@every_objective
def test_a_loss_that_draws_reads_its_tables_by_row(group: str, name: str) -> None:
    encoder, objective = ready(group, name)
    drawing = getattr(objective, "item_loss", None)
    if drawing is not None and drawing.by_row:
        assert objective.read_by_row(encoder)

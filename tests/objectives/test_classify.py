"""Classification of users: which keep their label, what the head sees, what a frozen encoder saves."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from userrep.errors import ConfigError, DataError
from userrep.models.nextitnet import NextItNet
from userrep.objectives.classify import Classify, encode_users, log_shares, nested_sample
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared

PROTOCOL = Protocol(history=16, readout="last")


def encoder_for(data: Prepared) -> NextItNet:
    torch.manual_seed(0)
    return NextItNet(data.sequences().vocab_size, width=8, dilations=[1, 2]).eval()


def everybody(data: Prepared) -> np.ndarray:
    return np.ones(data.num_users, dtype=bool)


@settings(max_examples=60)
@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=80),
    small=st.floats(0.01, 1),
    large=st.floats(0.01, 1),
    seed=st.integers(0, 9),
)
def test_a_share_of_the_labels_is_stratified_and_inside_every_larger_share(
    labels: list[int], small: float, large: float, seed: int
) -> None:
    small, large = sorted((small, large))
    codes, rows = np.array(labels), np.arange(len(labels)) * 3 + 1
    fewer, more = (nested_sample(rows, codes, share, seed).tolist() for share in (small, large))
    assert set(fewer) <= set(more) <= set(rows.tolist())
    assert fewer == sorted(set(fewer))
    label_of = dict(zip(rows.tolist(), labels, strict=True))
    kept = Counter(label_of[row] for row in fewer)
    for code, count in Counter(labels).items():
        assert kept[code] == max(1, round(small * count))


def test_a_whole_share_keeps_everyone_and_another_draw_keeps_others() -> None:
    labels, rows = np.arange(60) % 2, np.arange(60)
    assert nested_sample(rows, labels, 1.0, 0).tolist() == rows.tolist()
    assert nested_sample(rows, labels, 0.3, 0).tolist() != nested_sample(rows, labels, 0.3, 1).tolist()


def test_fewer_labels_touch_training_and_validation_but_never_the_test_users(prepared: Prepared) -> None:
    whole, few = Classify("gender"), Classify("gender", label_fraction=0.2)
    sizes = {
        role: [len(objective.cases(prepared, PROTOCOL, role)) for objective in (whole, few)]
        for role in ("train", "valid", "test")
    }
    assert sizes["test"][0] == sizes["test"][1]
    assert all(sizes[role][1] == pytest.approx(0.2 * sizes[role][0], abs=2) for role in ("train", "valid"))


@pytest.mark.parametrize(("norm", "dim"), [("layer", 1), ("batch", 0)])
def test_the_loss_is_the_cross_entropy_of_the_head_on_standardised_vectors(
    prepared: Prepared, norm: str, dim: int
) -> None:
    encoder, objective = encoder_for(prepared), Classify("age", norm=norm)
    objective.setup(encoder, prepared, PROTOCOL)
    assert objective.head is not None
    torch.nn.init.normal_(objective.head.weight)
    feed = objective.feed(prepared, PROTOCOL, everybody(prepared), 16, 32)
    batch = feed.batch(feed.order(np.random.default_rng(0))[0])
    user = encoder.user(batch.items)
    normed = (user - user.mean(dim=dim, keepdim=True)) / (user.var(dim=dim, keepdim=True, correction=0) + 1e-5).sqrt()
    wanted = F.cross_entropy(objective.head(normed), batch.targets)
    torch.testing.assert_close(objective.loss(encoder, batch, torch.Generator()), wanted)


@pytest.mark.parametrize("fraction", [1.0, 0.2])
@pytest.mark.parametrize("fold", [0, 3])
def test_the_untrained_head_is_the_best_constant_guess_of_the_training_cases(
    prepared: Prepared, fraction: float, fold: int
) -> None:
    encoder, objective = encoder_for(prepared), Classify("age", label_fraction=fraction)
    protocol = Protocol(history=16, readout="last", fold=fold)
    objective.setup(encoder, prepared, protocol)
    result = objective.eval().evaluate(encoder, prepared, protocol, "valid")
    split, labels = prepared.split("folds", fold), prepared.labels("age")
    known = [row for row in np.flatnonzero(split.user_role == 0) if labels[row] >= 0]
    counts = Counter(labels[known].tolist())
    kept = {code: max(1, round(fraction * count)) for code, count in counts.items()}
    shares = np.array([kept.get(code, 0.5) for code in range(len(prepared.classes("age")))])
    shares = shares / shares.sum()
    np.testing.assert_allclose(result.probabilities, np.tile(shares, (len(result.users), 1)), rtol=1e-6)


def test_labels_of_validation_and_test_users_move_no_start(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, before, after = encoder_for(prepared), Classify("age"), Classify("age")
    before.setup(encoder, prepared, PROTOCOL)
    labels, held_out = prepared.labels("age"), prepared.split("folds", 0).user_role != 0
    monkeypatch.setattr(prepared, "labels", lambda name: np.where(held_out, 0, labels))
    after.setup(encoder, prepared, PROTOCOL)
    assert before.head is not None
    assert after.head is not None
    assert torch.equal(before.head.bias, after.head.bias)


def test_a_restored_head_forgets_its_start(prepared: Prepared) -> None:
    encoder, trained, restored = encoder_for(prepared), Classify("age"), Classify("age", label_fraction=0.1)
    trained.setup(encoder, prepared, PROTOCOL)
    assert trained.head is not None
    torch.nn.init.normal_(trained.head.bias)
    restored.setup(encoder, prepared, PROTOCOL)
    restored.load_state_dict(trained.state_dict())
    found, wanted = (one.eval().evaluate(encoder, prepared, PROTOCOL, "test") for one in (restored, trained))
    np.testing.assert_array_equal(found.probabilities, wanted.probabilities)


def test_a_class_that_training_never_met_is_not_ruled_out() -> None:
    assert torch.isfinite(log_shares(torch.tensor([3, 0, 4]))).all()


def test_an_unknown_start_lists_those_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        Classify("age", start="majority")
    assert "shares" in caught.value.hint


def test_the_untrained_head_guesses_uniformly_where_asked_to(prepared: Prepared) -> None:
    encoder, objective = encoder_for(prepared), Classify("age", start="uniform")
    objective.setup(encoder, prepared, PROTOCOL)
    result = objective.eval().evaluate(encoder, prepared, PROTOCOL, "valid")
    assert result.metrics()["log_loss"] == pytest.approx(np.log(len(prepared.classes("age"))), rel=1e-6)


def test_cached_vectors_are_those_that_the_encoder_computes(prepared: Prepared) -> None:
    encoder, objective = encoder_for(prepared), Classify("gender")
    objective.setup(encoder, prepared, PROTOCOL)
    plain = objective.feed(prepared, PROTOCOL, everybody(prepared), PROTOCOL.history, 32)
    feed = objective.cached(plain, encoder, prepared, PROTOCOL)
    for index in feed.order(np.random.default_rng(0)):
        batch = feed.batch(index)
        assert batch.user is not None
        torch.testing.assert_close(batch.user, encoder.user(batch.items), rtol=1e-4, atol=1e-5)


def test_evaluation_on_cached_vectors_equals_one_that_encodes(prepared: Prepared) -> None:
    encoder, objective = encoder_for(prepared), Classify("gender")
    objective.setup(encoder, prepared, PROTOCOL)
    plain = objective.feed(prepared, PROTOCOL, everybody(prepared), PROTOCOL.history, 32)
    before = objective.evaluate(encoder, prepared, PROTOCOL, "valid")
    objective.cached(plain, encoder, prepared, PROTOCOL)
    for _ in range(2):
        again = objective.evaluate(encoder, prepared, PROTOCOL, "valid")
        assert np.array_equal(again.probabilities, before.probabilities)


def test_what_was_cached_is_forgotten_before_the_encoder_changes(prepared: Prepared) -> None:
    encoder, objective = encoder_for(prepared), Classify("gender")
    objective.setup(encoder, prepared, PROTOCOL)
    assert objective.head is not None
    torch.nn.init.normal_(objective.head.weight)
    plain = objective.feed(prepared, PROTOCOL, everybody(prepared), PROTOCOL.history, 32)
    objective.cached(plain, encoder, prepared, PROTOCOL)
    before = objective.evaluate(encoder, prepared, PROTOCOL, "valid")
    objective.forget()
    torch.nn.init.normal_(encoder.stem.table.weight)  # type: ignore[arg-type]
    after = objective.evaluate(encoder, prepared, PROTOCOL, "valid")
    assert not np.array_equal(after.probabilities, before.probabilities)


def test_a_users_vector_is_the_same_whoever_else_is_encoded(prepared: Prepared) -> None:
    encoder, objective = encoder_for(prepared), Classify("gender")
    cases = objective.cases(prepared, PROTOCOL, "train")
    together = encode_users(encoder, prepared.sequences(), cases, PROTOCOL.history)
    part = encode_users(encoder, prepared.sequences(), cases.take(np.arange(0, len(cases), 2)), PROTOCOL.history)
    torch.testing.assert_close(part, together[::2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.2])
def test_a_share_of_labels_outside_the_unit_interval_is_refused(fraction: float) -> None:
    with pytest.raises(ConfigError, match="label_fraction"):
        Classify("gender", label_fraction=fraction)


def test_an_unknown_label_lists_those_there_are(prepared: Prepared) -> None:
    with pytest.raises(DataError) as caught:
        Classify("occupation").setup(encoder_for(prepared), prepared, PROTOCOL)
    assert "gender" in caught.value.hint


def test_no_labelled_training_user_is_said_plainly(prepared: Prepared) -> None:
    with pytest.raises(DataError, match="no training user"):
        Classify("gender").feed(prepared, PROTOCOL, ~everybody(prepared), 16, 32)


@pytest.mark.parametrize("updates", [1, 3, 30])
def test_a_head_trained_for_few_updates_serves_vectors_on_the_scale_it_was_trained_on(
    prepared: Prepared, updates: int
) -> None:
    encoder, objective = encoder_for(prepared), Classify("gender")
    objective.setup(encoder, prepared, PROTOCOL)
    users = 5 + 3 * torch.randn(400, encoder.width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        objective.train()
        for _ in range(updates):
            objective.standardise(users)
        served = objective.eval().standardise(users)
    torch.testing.assert_close(served, (users - users.mean(0)) / users.std(0), rtol=0, atol=0.01)

"""Class shares, bags, their weights and the probe on top, against naive loops."""

import math

import numpy as np
import pytest
from scipy import sparse

from userrep.baselines.bag import WEIGHTS, BagLR, bags, standardiser
from userrep.baselines.majority import Majority
from userrep.baselines.probe import fill_classes, scaled
from userrep.errors import ConfigError
from userrep.objectives.classify import Classify
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared

PROTOCOL = Protocol()


def test_majority_predicts_the_shares_of_training_users_with_one_more_each(prepared: Prepared) -> None:
    result = Majority().fit_predict(prepared, PROTOCOL, Classify("age"))
    codes = prepared.labels("age")[prepared.split("folds", 0).user_role == 0].tolist()
    expected = [(codes.count(code) + 1) / (len(codes) + 4) for code in range(4)]
    assert np.allclose(result.probabilities, expected)


def test_bags_count_the_newest_items(prepared: Prepared) -> None:
    cases, sequences = Classify("gender").cases(prepared, PROTOCOL, "test"), prepared.sequences()
    for history in (None, 5):
        found = bags(sequences, cases, history).toarray()
        for row, (user, end) in enumerate(zip(cases.rows, cases.ends, strict=True)):
            items = sequences.items[sequences.offsets[user] : end].tolist()
            kept = items if history is None else items[-history:]
            assert found[row].tolist() == [kept.count(item) for item in range(sequences.vocab_size)]


def test_weights_equal_a_naive_loop() -> None:
    counts = np.array([[0, 2, 1], [0, 0, 4], [0, 0, 0]])
    found = {name: WEIGHTS[name](sparse.csr_matrix(counts))(sparse.csr_matrix(counts)).toarray() for name in WEIGHTS}
    assert found["binary"].tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
    assert np.allclose(found["log_count"], np.log1p(counts))
    assert np.allclose(found["l2"], [[0, 0.5**0.5, 0.5**0.5], [0, 0, 1], [0, 0, 0]])
    one, two = -math.log(2 / 4), -math.log(3 / 4)
    length = math.hypot(one, two)
    assert np.allclose(found["idf"], [[0, one / length, two / length], [0, 0, 1], [0, 0, 0]])


def test_unknown_weights_are_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError) as caught:
        BagLR(weights=["binry"])
    assert "binary" in caught.value.hint


def test_scaling_gives_training_users_a_mean_squared_length_of_one() -> None:
    rng = np.random.default_rng(0)
    dense = {"train": rng.normal(size=(50, 7)) * 9, "test": np.ones((2, 7))}
    thin = {role: sparse.csr_matrix(matrix) for role, matrix in dense.items()}
    assert np.square(scaled(dense)["train"]).sum(axis=1).mean() == pytest.approx(1)
    assert np.allclose(scaled(thin)["test"].toarray(), scaled(dense)["test"])


def test_a_class_without_training_users_stays_possible() -> None:
    full = fill_classes(np.array([[0.25, 0.75]]), np.array([0, 2]), count=3, cases=97)
    assert full.sum() == pytest.approx(1)
    assert 0 < full[0, 1] < 0.011
    assert full[0, 2] == pytest.approx(3 * full[0, 0])


def test_standardising_leaves_a_constant_column_alone() -> None:
    found = standardiser(np.array([[1.0, 5.0], [3.0, 5.0]]))(np.array([[2.0, 5.0]]))
    assert found.tolist() == [[0.0, 0.0]]

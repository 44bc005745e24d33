"""Continual metrics against their sums written out, and what must hold of any matrix."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from userrep.evaluation.continual import average, backward_transfer, forward_transfer, free_after, kept

NAN = float("nan")


@st.composite
def matrices(draw: st.DrawFn) -> np.ndarray:
    count = draw(st.integers(1, 6))
    values = draw(st.lists(st.floats(0, 1), min_size=count * count, max_size=count * count))
    matrix = np.array(values).reshape(count, count)
    matrix[np.triu_indices(count, 1)] = NAN
    return matrix


def test_a_chain_worked_out_by_hand() -> None:
    matrix = np.array([[0.5, NAN, NAN], [0.4, 0.8, NAN], [0.2, 0.7, 0.6]])
    assert average(matrix) == pytest.approx(0.5)
    assert kept(matrix) == pytest.approx([-0.3, -0.1])
    assert backward_transfer(matrix) == pytest.approx(-0.2)
    assert forward_transfer(matrix, np.array([NAN, 0.7, 0.65])) == pytest.approx(0.025)
    less_is_better = np.array([1, -1, 1])
    assert backward_transfer(matrix, less_is_better) == pytest.approx((-0.3 + 0.1) / 2)
    assert forward_transfer(matrix, np.array([NAN, 0.7, 0.65]), less_is_better) == pytest.approx((-0.1 - 0.05) / 2)


@given(matrices(), st.randoms(use_true_random=False))
def test_against_plain_loops(matrix: np.ndarray, rng: object) -> None:
    count = len(matrix)
    alone = [rng.choice([NAN, rng.random()]) for _ in range(count)]  # type: ignore[attr-defined]
    signs = [rng.choice([1, -1]) for _ in range(count)]  # type: ignore[attr-defined]
    total = 0.0
    for task in range(count):
        total += matrix[count - 1][task]
    assert average(matrix) == pytest.approx(total / count)
    changes = []
    for task in range(count - 1):
        changes.append(signs[task] * (matrix[count - 1][task] - matrix[task][task]))
    expected = sum(changes) / len(changes) if changes else None
    assert backward_transfer(matrix, np.array(signs)) == (expected if expected is None else pytest.approx(expected))
    gains = []
    for task in range(count):
        if alone[task] == alone[task]:
            gains.append(signs[task] * (matrix[task][task] - alone[task]))
    expected = sum(gains) / len(gains) if gains else None
    found = forward_transfer(matrix, np.array(alone), np.array(signs))
    assert found == (expected if expected is None else pytest.approx(expected))


@given(matrices())
def test_what_does_not_change_has_a_backward_transfer_of_zero_to_the_last_bit(matrix: np.ndarray) -> None:
    steady = np.where(np.isnan(matrix), NAN, np.diagonal(matrix))
    assert backward_transfer(steady) in (0.0, None)
    assert backward_transfer(steady, -np.ones(len(steady))) in (0.0, None)


def test_one_task_has_nothing_to_forget_and_no_model_to_be_held_against() -> None:
    single = np.array([[0.5]])
    assert backward_transfer(single) is None
    assert forward_transfer(single, np.array([NAN])) is None


@pytest.mark.parametrize("shape", [(0, 0), (2, 3), (3,)])
def test_what_is_no_matrix_of_tasks_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="square"):
        average(np.zeros(shape))


def test_what_is_free_falls_by_what_each_task_owns() -> None:
    shares = np.array([0.3 * 0.7**task for task in range(6)])
    assert free_after(shares) == pytest.approx([0.7 ** (task + 1) for task in range(6)])  # spec 1.4

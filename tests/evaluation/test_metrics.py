"""Metrics against naive loops, ir-measures and scikit-learn, with and without resampling weights."""

import math

import numpy as np
import pytest
from made_results import some_classification, some_ranking

from userrep.errors import DataError
from userrep.evaluation import metrics
from userrep.evaluation.results import ClassificationResult, RankingResult, joined, read_result
from userrep.stages.headline import goodness


def test_rank_counts_half_of_the_ties() -> None:
    assert metrics.ranks(np.array([0, 0, 4]), np.array([0, 1, 2])).tolist() == [1.0, 1.5, 6.0]


def test_ranking_metrics_equal_a_naive_loop() -> None:
    result = some_ranking()
    found = result.metrics()
    for k in (5, 10, 20):
        hits, gains, inverse = [], [], []
        for greater, ties in zip(result.greater, result.ties, strict=True):
            rank = 1 + greater + ties / 2
            hits.append(1.0 if rank <= k else 0.0)
            gains.append(1 / math.log2(1 + rank) if rank <= k else 0.0)
            inverse.append(1 / rank if rank <= k else 0.0)
        assert found[f"hr@{k}"] == pytest.approx(np.mean(hits), abs=1e-12)
        assert found[f"ndcg@{k}"] == pytest.approx(np.mean(gains), abs=1e-12)
        assert found[f"mrr@{k}"] == pytest.approx(np.mean(inverse), abs=1e-12)


def test_ranking_metrics_equal_ir_measures_without_ties() -> None:
    ir = pytest.importorskip("ir_measures")
    rng = np.random.default_rng(4)
    scores = rng.permuted(np.tile(np.arange(50.0), (30, 1)), axis=1)  # (30 users, 50 items), no ties
    targets = rng.integers(0, 50, 30)
    greater = (scores > scores[np.arange(30), targets][:, None]).sum(1)
    result = RankingResult(np.arange(30), targets, greater, np.zeros(30, dtype=np.int64))
    qrels = [ir.Qrel(str(user), str(target), 1) for user, target in enumerate(targets)]
    run = [ir.ScoredDoc(str(u), str(i), float(scores[u, i])) for u in range(30) for i in range(50)]
    for k in (5, 10, 20):
        measures = {f"hr@{k}": ir.Success @ k, f"ndcg@{k}": ir.nDCG @ k, f"mrr@{k}": ir.RR @ k}
        expected = ir.calc_aggregate(list(measures.values()), qrels, run)
        for name, measure in measures.items():
            assert result.metrics()[name] == pytest.approx(expected[measure], abs=1e-9)


def test_sampled_metrics_always_say_that_they_are() -> None:
    names = set(some_ranking().metrics())
    assert {"ndcg@10", "ndcg@10@uni99", "hr@5@uni99", "mrr@20@uni99"} <= names
    assert len(names) == 18


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [2, 4])
def test_classification_metrics_equal_scikit_learn(classes: int, ties: bool) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    result = some_classification(classes=classes, ties=ties)
    found, labels, probabilities = result.metrics(), result.labels, result.probabilities
    assert found["accuracy"] == pytest.approx(sklearn.accuracy_score(labels, result.predicted))
    assert found["macro_f1"] == pytest.approx(sklearn.f1_score(labels, result.predicted, average="macro"))
    assert found["log_loss"] == pytest.approx(sklearn.log_loss(labels, probabilities, labels=range(classes)))
    if classes == 2:
        assert found["auc"] == pytest.approx(sklearn.roc_auc_score(labels, probabilities[:, 1]))
    else:
        assert "auc" not in found


def test_auc_equals_a_naive_loop_over_pairs_with_ties() -> None:
    rng = np.random.default_rng(7)
    positive, scores = rng.random(60) < 0.4, rng.integers(0, 6, 60).astype(float)
    pairs = [(a > b) + (a == b) / 2 for a in scores[positive] for b in scores[~positive]]
    assert metrics.auc(positive, scores) == pytest.approx(np.mean(pairs))


def test_auc_compares_within_a_fold_since_scores_of_several_models_share_no_scale() -> None:
    rng = np.random.default_rng(8)
    parts = [some_classification(users=40, classes=2, seed=seed) for seed in range(3)]
    whole = joined(parts)
    pairs = [
        (a > b) + (a == b) / 2
        for part in parts
        for a in part.probabilities[part.labels == 1, 1]
        for b in part.probabilities[part.labels == 0, 1]
    ]
    assert whole.metrics()["auc"] == pytest.approx(np.mean(pairs))
    order = rng.permutation(len(whole))
    assert whole.subset(order).metrics()["auc"] == pytest.approx(np.mean(pairs))


def test_class_shares_alone_have_an_auc_of_one_half_over_folds() -> None:
    labels = np.array([1, 1, 1, 0, 0, 0, 0, 1])
    shares = np.repeat([[0.75, 0.25], [0.25, 0.75]], 4, axis=0)  # learned from the other fold each
    users = np.arange(8)
    folds = [ClassificationResult(users[at], labels[at], shares[at], ("a", "b")) for at in (users < 4, users > 3)]
    assert joined(folds).metrics()["auc"] == 0.5


def test_auc_of_one_kind_of_case_is_no_number() -> None:
    assert math.isnan(metrics.auc(np.ones(4, dtype=bool), np.arange(4.0)))  # type: ignore[arg-type]


def test_macro_f1_leaves_out_classes_that_never_occur() -> None:
    labels, predicted = np.array([0, 0, 2]), np.array([0, 2, 2])
    assert metrics.macro_f1(labels, predicted, 5) == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_a_certain_mistake_costs_a_finite_log_loss() -> None:
    assert 30 < metrics.negative_log(np.array([[1.0, 0.0]]), np.array([1]))[0] < 40


@pytest.mark.parametrize("make", [some_ranking, some_classification, lambda: some_classification(classes=2, ties=True)])
def test_metrics_under_weights_are_those_of_the_resampled_cases(make) -> None:  # type: ignore[no-untyped-def]
    result = make()
    drawn = np.random.default_rng(2).integers(0, len(result), (6, len(result)))
    weights = np.stack([np.bincount(row, minlength=len(result)) for row in drawn]).astype(float)
    found = result.resampled(weights)
    for draw, chosen in enumerate(drawn):
        for name, value in result.subset(chosen).metrics().items():
            assert found[name][draw] == pytest.approx(value, abs=1e-12), name
    name = next(iter(found))
    assert np.array_equal(result.resampled(weights, names=(name,))[name], found[name])


@pytest.mark.parametrize("make", [some_ranking, some_classification])
def test_a_result_reads_back_from_its_columns_bit_for_bit(make) -> None:  # type: ignore[no-untyped-def]
    result = make()
    again = read_result(result.users, result.table())
    assert again.metrics() == result.metrics()
    assert type(again) is type(result)


def test_no_users_are_an_error_and_not_a_number() -> None:
    with pytest.raises(DataError, match="no user"):
        some_ranking().subset(np.zeros(60, dtype=bool)).metrics()


@pytest.mark.parametrize(
    ("metric", "lower"),
    [("log_loss", True), ("gender/log_loss", True), ("ndcg@10", False), ("gender/accuracy", False), ("overall", False)],
)
def test_less_is_better_of_log_loss_alone_whatever_part_it_is_of(metric: str, lower: bool) -> None:
    assert metrics.lower_is_better(metric) == lower
    better, worse = sorted([0.3, 0.9], reverse=not lower)
    assert goodness((metric, better)) < goodness((metric, worse))

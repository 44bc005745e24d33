"""Paired comparisons: a planted difference is found, none is not, users and seeds pair up."""

import warnings

import numpy as np
import pytest
from made_results import several_cases, some_classification, some_ranking

from userrep.errors import DataError, UsageError
from userrep.evaluation.results import RankingResult
from userrep.evaluation.significance import (
    LEVEL,
    compare,
    crossed_bootstrap,
    draws_for,
    effect_size,
    holm,
    margin_of,
    pair,
    two_sided_p,
    verdict,
)


def ranked(hits: np.ndarray, users: np.ndarray | None = None) -> RankingResult:
    rows = np.arange(len(hits)) if users is None else users
    return RankingResult(rows, rows, np.where(hits, 0, 1_000), np.zeros(len(hits), dtype=np.int64))


def test_a_small_but_paired_difference_is_found_and_none_is_not() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(800) < 0.5
    better, same = base | (rng.random(800) < 0.06), base ^ (rng.random(800) < 0.02)
    found = compare(pair([{0: ranked(base)}, {0: ranked(better)}, {0: ranked(same)}]), "hr@10", draws=800)
    assert found.contrasts[0] is None
    gain, nothing = found.contrasts[1:]
    assert gain is not None
    assert nothing is not None
    assert gain.interval[0] > 0
    assert gain.p_holm < 0.01
    assert gain.difference == pytest.approx(better.mean() - base.mean())
    assert nothing.interval[0] < 0 < nothing.interval[1]
    low, high = found.intervals[0]
    assert gain.detectable < (high - low) / 3.92 * 2.8  # pairing sees more than two separate samples would


def test_the_interval_of_a_difference_has_the_width_of_the_paired_normal_one() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.random(1_500) < 0.4, rng.random(1_500) < 0.45
    contrast = compare(pair([{0: ranked(first)}, {0: ranked(second)}]), "hr@10", draws=1_500).contrasts[1]
    assert contrast is not None
    deviation = (second.astype(float) - first).std() / np.sqrt(1_500)
    assert (contrast.interval[1] - contrast.interval[0]) / (2 * 1.96 * deviation) == pytest.approx(1, abs=0.08)
    assert contrast.detectable / (2.8 * deviation) == pytest.approx(1, abs=0.08)


def test_differences_between_seeds_widen_the_interval() -> None:
    rng = np.random.default_rng(2)
    base = {seed: ranked(rng.random(2_000) < 0.5) for seed in range(4)}
    steady = {seed: ranked(rng.random(2_000) < 0.5) for seed in range(4)}
    unsteady = {seed: ranked(rng.random(2_000) < share) for seed, share in enumerate((0.3, 0.7, 0.35, 0.65))}
    widths = []
    for arm in (steady, unsteady):
        contrast = compare(pair([base, arm]), "hr@10", draws=400).contrasts[1]
        assert contrast is not None
        widths.append(contrast.interval[1] - contrast.interval[0])
    assert widths[1] > 2.5 * widths[0]


def test_the_same_draw_of_users_and_seeds_serves_all_arms() -> None:
    results = {seed: some_ranking(users=90, seed=seed) for seed in range(3)}
    drawn = crossed_bootstrap(pair([results, dict(results)]), "ndcg@10", draws=50)
    assert np.array_equal(drawn[0], drawn[1])
    assert len(np.unique(drawn[0])) > 40


def test_drawn_metrics_equal_those_of_results_resampled_one_by_one() -> None:
    arm = {seed: some_classification(users=30, classes=3, seed=seed) for seed in range(2)}
    drawn = crossed_bootstrap(pair([arm]), "macro_f1", draws=5, seed=3)[0]
    rng = np.random.default_rng(3)
    users = rng.integers(0, 30, (5, 30))
    seeds = rng.integers(0, 2, (5, 2))
    for draw in range(5):
        expected = np.mean([arm[seed].subset(users[draw]).metrics()["macro_f1"] for seed in seeds[draw]])
        assert drawn[draw] == pytest.approx(expected)


def test_a_user_with_several_cases_is_drawn_with_all_of_them_or_not_at_all() -> None:
    arms = [{seed: several_cases(10 * arm + seed) for seed in range(2)} for arm in range(2)]
    drawn = crossed_bootstrap(pair(arms), "ndcg@10", draws=6, seed=4)
    rng = np.random.default_rng(4)
    users, seeds = rng.integers(0, 20, (6, 20)), rng.integers(0, 2, (6, 2))
    for arm, draw in np.ndindex(*drawn.shape):
        found = []
        for seed in seeds[draw]:
            result = arms[arm][seed]
            cases = [case for user in users[draw] for case in np.flatnonzero(result.users == user)]
            found.append(result.subset(np.array(cases)).metrics()["ndcg@10"])
        assert drawn[arm, draw] == pytest.approx(np.mean(found))


def test_cases_of_one_user_that_agree_give_the_interval_of_users_not_of_cases() -> None:
    rng = np.random.default_rng(6)
    first, second = rng.random(400) < 0.4, rng.random(400) < 0.5
    users = np.repeat(np.arange(400), 5)
    once = compare(pair([{0: ranked(first)}, {0: ranked(second)}]), "hr@10", draws=300).contrasts[1]
    often = compare(pair([{0: ranked(hits[users], users)} for hits in (first, second)]), "hr@10", draws=300)
    assert once is not None
    assert often.contrasts[1] is not None
    assert often.contrasts[1].interval == pytest.approx(once.interval)


def test_pairing_keeps_the_users_that_all_arms_tested() -> None:
    hits = np.ones(10, dtype=bool)
    paired = pair([{0: ranked(hits, np.arange(10))}, {0: ranked(hits, np.arange(4, 14))}])
    assert [row[0].users.tolist() for row in paired.arms] == [list(range(4, 10))] * 2
    assert paired.left_out == 8


def test_a_baseline_of_one_seed_stands_for_all_seeds() -> None:
    several = {seed: some_ranking(seed=seed) for seed in range(3)}
    paired = pair([{0: some_ranking(seed=9)}, several])
    assert paired.seeds == [0, 1, 2]
    assert len({id(cell.users) for cell in paired.arms[0]}) == 3
    assert compare(paired, "ndcg@10", draws=50).values[0] == pytest.approx(some_ranking(seed=9).metrics()["ndcg@10"])


def test_arms_of_several_seeds_are_cut_to_those_they_share() -> None:
    arms = [{seed: some_ranking(seed=seed) for seed in seeds} for seeds in ((0, 1, 2), (1, 2, 3))]
    paired = pair(arms)
    assert (paired.seeds, paired.seeds_left_out) == ([1, 2], [0, 3])
    assert pair([arms[0], {5: some_ranking()}]).seeds_left_out == []


def test_runs_without_a_shared_seed_or_user_are_refused() -> None:
    with pytest.raises(UsageError, match="no seed"):
        pair([{0: some_ranking(), 1: some_ranking()}, {2: some_ranking(), 3: some_ranking()}])
    hits = np.ones(3, dtype=bool)
    with pytest.raises(DataError, match="no test user"):
        pair([{0: ranked(hits)}, {0: ranked(hits, np.arange(7, 10))}])


def test_holm_steps_down_and_never_passes_one() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_metric_that_no_draw_has_is_no_warning_of_a_library() -> None:
    both = some_classification(classes=2)
    one_class = both.subset(both.labels == 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = compare(pair([{0: one_class}, {0: one_class}]), "auc", draws=20)
    assert found.contrasts[1] is not None
    assert np.isnan(found.contrasts[1].detectable)


@pytest.mark.parametrize("contrasts", [1, 25, 50, 51, 400])
def test_so_many_draws_are_made_that_a_clear_difference_is_significant_among_all(contrasts: int) -> None:
    least = 2 / (draws_for(contrasts) + 1)
    assert max(holm([least] * contrasts)) < LEVEL / 2 + 1e-12


def test_a_table_of_many_arms_can_be_bold() -> None:
    better, worse = (ranked(np.full(20, hit)) for hit in (True, False))
    found = compare(pair([{0: worse}, *({0: better} for _ in range(60))]), "hr@10")
    assert all(contrast.significant for contrast in found.contrasts if contrast is not None)


def test_p_is_large_where_differences_straddle_zero_and_bounded_below_by_the_draws() -> None:
    assert two_sided_p(np.array([-1.0, 1.0] * 50)) == 1.0
    assert two_sided_p(np.ones(999)) == pytest.approx(2 / 1_000)
    assert two_sided_p(np.zeros(10)) == 1.0


@pytest.mark.parametrize(
    ("interval", "expected"),
    [((-0.004, 0.02), "non-inferior"), ((-0.03, -0.015), "inferior"), ((-0.03, 0.02), "inconclusive")],
)
def test_as_good_as_is_judged_by_a_margin(interval: tuple[float, float], expected: str) -> None:
    assert verdict(interval, margin=0.01) == expected


def test_fewer_nats_are_better() -> None:
    assert verdict((-0.02, 0.004), margin=0.01, metric="log_loss") == "non-inferior"
    assert verdict((0.015, 0.03), margin=0.01, metric="log_loss") == "inferior"
    assert verdict((0.015, 0.03), margin=0.01, metric="gender/log_loss") == "inferior"
    assert verdict((0.015, 0.03), margin=0.01, metric="gender/accuracy") == "non-inferior"


def test_a_margin_is_the_one_asked_for_or_that_of_the_metric() -> None:
    assert margin_of("accuracy", 0.7) == 0.01
    assert margin_of("ndcg@10", 0.2) == pytest.approx(0.01)
    assert margin_of("log_loss", 0.5) is None
    assert margin_of("liked/ndcg@10", 0.2) == pytest.approx(0.01)
    assert margin_of("log_loss", 0.5, asked=0.02) == 0.02
    for wrong in (0.0, -0.1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="--margin"):
            margin_of("accuracy", 0.7, asked=wrong)


def test_the_effect_is_the_mean_of_user_differences_in_their_deviations() -> None:
    arms = [{seed: several_cases(10 * arm + seed) for seed in range(3)} for arm in range(2)]
    paired = pair(arms)
    differences = []
    for user in range(20):
        by_seed = []
        for seed in range(3):
            means = [arm[seed].subset(arm[seed].users == user).metrics()["ndcg@10"] for arm in arms]
            by_seed.append(means[1] - means[0])
        differences.append(np.mean(by_seed))
    expected = np.mean(differences) / np.std(differences, ddof=1)
    assert effect_size(paired, "ndcg@10", 1, 0) == pytest.approx(expected)
    assert effect_size(paired, "ndcg@10", 0, 1) == pytest.approx(-expected)


def test_a_metric_that_no_user_has_of_its_own_has_no_effect_size() -> None:
    paired = pair([{0: some_classification(classes=2, seed=seed)} for seed in (0, 1)])
    assert effect_size(paired, "macro_f1", 1, 0) is None
    assert effect_size(paired, "auc", 1, 0) is None
    assert effect_size(paired, "accuracy", 1, 0) is not None
    assert effect_size(pair([{0: some_ranking()}, {0: some_ranking()}]), "hr@10", 1, 0) is None

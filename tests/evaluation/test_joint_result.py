"""Results of several tasks: the parts' own numbers, whole or resampled, in a file and back."""

from pathlib import Path

import numpy as np
import pytest
from made_results import several_cases, some_classification

from userrep.errors import ConfigError, DataError
from userrep.evaluation.intervals import bootstrap
from userrep.evaluation.per_user import read_per_user, write_per_user
from userrep.evaluation.results import JointResult, joined, overall
from userrep.evaluation.significance import compare, pair

JUDGED = {"liked": "ndcg@10", "age": "log_loss"}


def some_joint(seed: int = 0) -> JointResult:
    return JointResult.of({"liked": several_cases(seed), "age": some_classification(30, seed=seed)}, JUDGED)


def test_a_file_keeps_all_parts_and_what_they_are_judged_by(tmp_path: Path) -> None:
    before, path = some_joint(), tmp_path / "per_user.parquet"
    write_per_user(path, before, [f"user{row:03}" for row in range(30)])
    after = read_per_user([path])[0]
    assert isinstance(after, JointResult)
    assert after.judged == before.judged
    assert list(after.parts) == list(before.parts)
    assert after.metrics() == before.metrics()
    assert after.users.tolist() == before.users.tolist()
    for column, values in before.table().items():
        np.testing.assert_array_equal(after.table()[column], values)


def test_resampled_users_count_alike_in_every_part() -> None:
    result = some_joint()
    times = np.random.default_rng(1).integers(0, 3, (4, 30)).astype(float)
    found = result.resampled(times[:, result.users])
    for name, part in result.parts.items():
        for metric, values in part.resampled(times[:, part.users]).items():
            np.testing.assert_allclose(found[f"{name}/{metric}"], values)
    wanted = np.sqrt(found["liked/ndcg@10"] / found["age/log_loss"])
    np.testing.assert_allclose(found["overall"], wanted)
    assert set(result.resampled(times[:, result.users], ("overall",))) == {"overall"}
    low, high = bootstrap(result, draws=50)["overall"]
    assert low < result.metrics()["overall"] < high


def test_a_part_without_a_case_is_left_out_and_nobody_is_refused() -> None:
    result = some_joint()
    only = result.subset(result.users >= 20)  # several_cases has users below 20
    assert len(only.parts["liked"]) == 0
    metrics = only.metrics()
    assert not any(name.startswith("liked/") for name in metrics)
    assert metrics["overall"] == pytest.approx(1 / metrics["age/log_loss"])
    with pytest.raises(DataError):
        result.subset(result.users < 0).metrics()


@pytest.mark.parametrize("as_mask", [True, False])
def test_a_subset_has_each_parts_own_cases(as_mask: bool) -> None:
    result = some_joint()
    mask = result.users % 3 == 0
    kept = result.subset(mask if as_mask else np.flatnonzero(mask))
    assert kept.users.tolist() == result.users[mask].tolist()
    for name, part in result.parts.items():
        wanted = part.subset(part.users % 3 == 0).table()
        for column, values in kept.parts[name].table().items():
            np.testing.assert_array_equal(values, wanted[column])


def test_folds_are_joined_part_by_part() -> None:
    halves = [some_joint().subset(some_joint().users % 2 == half) for half in (0, 1)]
    whole = joined(halves)
    assert isinstance(whole, JointResult)
    assert len(whole) == len(some_joint())
    assert whole.metrics()["liked/ndcg@10"] == pytest.approx(some_joint().metrics()["liked/ndcg@10"])
    assert whole.metrics()["age/accuracy"] == pytest.approx(some_joint().metrics()["age/accuracy"])


def test_arms_are_compared_by_a_metric_of_a_part() -> None:
    paired = pair([{0: some_joint(0)}, {0: some_joint(1)}])
    alone = pair([{0: some_joint(0).parts["liked"]}, {0: some_joint(1).parts["liked"]}])
    mine, own = compare(paired, "liked/ndcg@10", draws=20), compare(alone, "ndcg@10", draws=20)
    assert mine.values == own.values


def test_overall_rises_with_the_mean_relative_gain_whatever_the_units() -> None:
    before = {"liked/ndcg@10": 0.02, "age/log_loss": 1.5}
    assert overall(before) == pytest.approx((0.02 / 1.5) ** 0.5)
    better = {"liked/ndcg@10": 0.022, "age/log_loss": 1.5 / 1.1}
    assert overall(better) / overall(before) == pytest.approx(1.1)
    assert overall({"a/ndcg@10": 0.0, "b/accuracy": 0.25}) == pytest.approx((1e-4 * 0.25) ** 0.5)


def test_a_metric_that_a_part_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="age has no metric 'acuracy'") as caught:
        JointResult.of(some_joint().parts, JUDGED | {"age": "acuracy"}).metrics()
    assert "accuracy" in caught.value.hint


def test_a_damaged_table_is_no_result(tmp_path: Path) -> None:
    table = {name: column for name, column in some_joint().table().items() if name != "age/label"}
    with pytest.raises(DataError, match="these are no results"):
        JointResult.from_table(some_joint().users, table)

"""The presets of UAF compose for both of its stages, with the numbers of the published run scripts."""

import pytest

from userrep.build import build
from userrep.config import compose
from userrep.methods.uaf import UAF


@pytest.mark.parametrize("name", ["uaf_paper", "uaf_official_code"])
@pytest.mark.parametrize("verb", ["pretrain", "transfer"])
def test_the_published_settings_are_those_of_the_run_scripts(name: str, verb: str) -> None:
    config = compose(verb, [f"experiment={name}"])
    trainer = build(config["trainer"])
    assert (trainer.epochs, trainer.batch_size, trainer.lr, trainer.schedule) == (50, 128, 1e-4, "constant")
    assert config["protocol"]["readout"] == "mean"
    if verb == "pretrain":
        assert (config["model"]["width"], config["model"]["dilations"]) == (128, [1, 4] * 4)
    else:
        method = build(config["method"])
        assert isinstance(method, UAF)
        assert (method.temperature, method.temperature_end, method.policy_rate) == (10.0, 10.0, 1.0)
        assert (method.reward.gamma, method.reward.top, method.warm_epochs) == (1.0, 5, 0)
        assert method.squash is method.samples is method.train_stem is (name == "uaf_official_code")
        assert (method.policy, method.strategy, method.tune) == ("conv", "hard", "copy")


def test_the_reward_of_the_published_code_starts_after_five_epochs() -> None:
    config = compose("transfer", ["experiment=uaf_official_code", "method.strategy=rl"])
    assert build(config["method"]).warm_epochs == 5


def test_the_small_preset_goes_from_one_release_to_the_other_on_two_cores() -> None:
    stages = {verb: compose(verb, ["experiment=uaf_small"]) for verb in ("pretrain", "transfer")}
    assert {config["protocol"]["source"] for config in stages.values()} == {"ml-1m"}
    assert stages["pretrain"]["protocol"] == stages["transfer"]["protocol"]
    assert stages["pretrain"]["dataset"]["name"] == "ml-1m-to-100k"
    assert [build(config["trainer"]).epochs for config in stages.values()] == [5, 20]
    method = build(stages["transfer"]["method"])
    assert (method.tune, method.table_rank) == ("patch", 8)

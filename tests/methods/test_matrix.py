"""The matrix that `userrep methods` prints is the one that the contract tests hold to the laws."""

from pathlib import Path
from typing import Any

import pytest
import tiny

from userrep.build import build
from userrep.errors import ConfigError
from userrep.methods.matrix import matrix, refusal
from userrep.stages.methods import run
from userrep.stages.request import Request

BLIND = {"_target_": "userrep.models.nextitnet.NextItNet", "width": 16, "dilations": [1, 2]}


def test_the_command_answers_for_every_pair_what_the_contract_tests_prove(userrep: Any) -> None:
    told = userrep("methods", "--json")
    assert told.code == 0
    assert told.answer["encoders"] == tiny.names("model")
    assert [row["name"] for row in told.answer["methods"]] == tiny.names("method")
    for row in told.answer["methods"]:
        method = tiny.method(row["name"])
        assert row["paper"]
        assert row["joint"] in ("selection", "weight", "sublayer", "block", "stem")
        assert row["identity_at_start"] is (method.identity_at_start and method.pretrained)
        for model, joined in row["encoders"].items():
            reason = tiny.refusal(model, row["name"])
            assert joined is (reason is None)
            assert row["gaps"].get(model) == (reason and reason.partition(": ")[2])


def test_the_table_names_every_method_every_encoder_and_the_reason_of_each_gap(userrep: Any) -> None:
    shown = userrep("methods").out
    assert all(name in shown for name in (*tiny.names("method"), *tiny.names("model")))
    reasons = [tiny.refusal(model, method) for model in tiny.names("model") for method in tiny.names("method")]
    assert all(reason.partition(": ")[2] in shown for reason in reasons if reason)


def test_a_users_own_methods_are_in_it_with_their_defaults_resolved(userrep: Any, workplace: Path) -> None:
    (workplace / "mine" / "method").mkdir(parents=True)
    (workplace / "mine" / "method" / "upper.yaml").write_text("defaults: [peterrec]\nlast_blocks: 9\n")
    told = userrep("methods", "--config-dir", "mine", "--json")
    (row,) = [row for row in told.answer["methods"] if row["name"] == "upper"]
    assert row["paper"] == tiny.method("peterrec").paper
    assert "the encoder has 2 blocks, not 9" in row["gaps"]["nextitnet"]


def test_a_method_that_fits_has_no_gap_and_one_that_does_not_says_why() -> None:
    nodes = {name: tiny.node("method", name) for name in ("lora", "ia3")}
    nodes["ia3"]["role"] = "gate"
    fits, gap = matrix({"blind": BLIND}, nodes)
    assert (fits.name, fits.gaps) == ("lora", {"blind": None})
    assert "no sublayer with role 'gate'" in str(gap.gaps["blind"])


def test_pairs_are_tried_on_small_encoders() -> None:
    huge = dict(BLIND, width=2**20)  # would not fit into memory
    assert refusal(huge, tiny.node("method", "full")) is None
    assert build(tiny.shrink(huge), vocab_size=5).width == 16


def test_a_config_dir_that_is_not_there_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder"):
        run(Request(config_dir=tmp_path / "nosuch"))

"""A base of several objectives through the command line: trained, measured, served and handed on as its leader's."""

from pathlib import Path
from typing import Any

import pytest

from userrep.run import open_run
from userrep.training.journal import Journal

SMALL = ("model.width=16", "model.dilations=[1,2]", "trainer.batch_size=128", "trainer.epochs=1")
YAML = """
defaults:
  - next_item@parts.next_item
  - all_action@parts.all_action
  - _self_

_target_: userrep.objectives.together.Together
lead: all_action
weights:
  next_item: 0.5
"""


@pytest.fixture
def own(userrep: Any, prepared_data_dir: Path, workplace: Path) -> Any:
    """Run a verb on the prepared data set, in a folder with an objective of one's own, and expect a code."""
    (workplace / "conf" / "objective").mkdir(parents=True)
    (workplace / "conf" / "objective" / "both.yaml").write_text(YAML)

    def run(*words: str, code: int = 0) -> Any:
        told = userrep(*words, "--data-dir", str(prepared_data_dir), "--json")
        assert told.code == code, told.err
        return told.answer if code == 0 else told.error

    return run


def pretrain(own: Any, run: str, *words: str) -> Any:
    return own("pretrain", "dataset=synthetic", *SMALL, *words, "--config-dir", "conf", "--run", run)


def test_such_a_base_is_measured_compared_served_and_handed_on(own: Any) -> None:
    made = pretrain(own, "both", "objective=both", "objective.weights.next_item=0.25")
    last = Journal(Path("both/log.jsonl")).records()[-1]
    assert last["loss:next_item"] + last["loss:all_action"] == pytest.approx(last["loss"])
    assert {"ndcg@10", "next_item/ndcg@10"} <= made["metrics"].keys()
    assert not any(name.startswith("loss") for name in made["metrics"])
    assert open_run("both").config["objective"]["weights"] == {"next_item": 0.25}

    pretrain(own, "alone", "objective=all_action")
    measured = {run: own("evaluate", run, "--split", "valid")["metrics"] for run in ("both", "alone")}
    assert measured["both"].keys() == measured["alone"].keys()
    assert open_run("both").record["protocol_hash"] == open_run("alone").record["protocol_hash"]
    for run in ("both", "alone"):
        own("evaluate", run)
    own("compare", "both", "alone", "--metric", "ndcg@10")

    Path("people.csv").write_text("user\nu00001\n")
    listed = own("recommend", "both", "--users", "people.csv", "--topk", "3")["recommendations"]
    assert len(listed[0]["items"]) == 3
    own("transfer", "--method", "full", "--from", "both", "task=gender", "trainer.epochs=1", "--run", "gender")
    own("evaluate", "gender")


def test_it_is_the_first_task_of_a_chain(own: Any) -> None:
    pretrain(own, "both", "objective=both", "protocol.events=chain")
    own("prune", "both", "--method", "conure", "trainer.epochs=1", "--run", "1")
    assert own("chain", "1")["tasks"][0]["metric"] == "ndcg@10"


def test_a_part_that_is_left_out_leaves_the_other_alone(own: Any) -> None:
    words = ("objective=both", "~objective.parts.next_item", "objective.weights=null", "protocol.history=20")
    pretrain(own, "left", *words)
    pretrain(own, "alone", "objective=all_action", "protocol.history=20")
    assert open_run("left").record["metrics"] == open_run("alone").record["metrics"]

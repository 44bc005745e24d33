"""Slots: where trials run at once, and what is said of a device that is not there."""

import pytest

from userrep.errors import UsageError
from userrep.sweep.slots import VISIBLE, gpu_slots, processor_slots, with_threads


def test_gpus_are_filled_one_after_another_before_any_gets_a_second_trial() -> None:
    slots = gpu_slots("0,1", 2, ["0", "1", "2"])
    assert [slot.name for slot in slots] == ["gpu 0", "gpu 1", "gpu 0", "gpu 1"]
    assert [slot.environment[VISIBLE] for slot in slots] == ["0", "1", "0", "1"]


def test_gpus_count_as_torch_counts_them_among_those_that_are_visible() -> None:
    assert [slot.environment[VISIBLE] for slot in gpu_slots("1", 1, ["4", "GPU-77"])] == ["GPU-77"]
    assert [slot.environment[VISIBLE] for slot in gpu_slots("all", 1, ["4", "6"])] == ["4", "6"]


@pytest.mark.parametrize(
    ("wanted", "visible", "message"),
    [
        ("0,2", ["0", "1"], "no GPU 2; there are 2: 0, 1"),
        ("0", [], "no GPU 0; this torch sees none"),
        ("all", [], "this torch sees none"),
        ("0,0", ["0"], "twice"),
        ("a", ["0"], "'a' is no number"),
        ("-1", ["0"], "'-1' is no number"),
        ("", ["0"], "'' is no number"),
    ],
)
def test_a_gpu_that_is_not_there_is_refused_with_what_there_is(wanted: str, visible: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        gpu_slots(wanted, 1, visible)


def test_cores_are_shared_out_and_what_the_user_set_stays() -> None:
    slots = with_threads(processor_slots(3), 8, {"OMP_NUM_THREADS": "5"})
    assert all("OMP_NUM_THREADS" not in slot.environment for slot in slots)
    assert {slot.environment["MKL_NUM_THREADS"] for slot in slots} == {"2"}
    assert with_threads(processor_slots(1), 8, {})[0].environment == {}
    assert with_threads(processor_slots(4), 2, {})[0].environment["OMP_NUM_THREADS"] == "1"

"""The roofline and the named GPUs."""

import pytest

from userrep.errors import UsageError
from userrep.planning.gpus import GPUS, Gpu, named
from userrep.planning.ledger import Operation
from userrep.planning.roofline import COMPUTED, LAUNCH, MOVED, on_gpu

GPU = Gpu("imagined", memory=1e9, bandwidth=1e12, bf16=4e14, fp32=1e14, source="")
HEAVY, WIDE, SMALL = Operation(10**12, 10**6), Operation(0, 10**10), Operation(10, 10)


def test_an_operation_takes_the_longer_of_its_arithmetic_and_its_bytes() -> None:
    assert on_gpu([HEAVY], GPU, False).likely == pytest.approx(1e12 / (COMPUTED[1] * 1e14))
    assert on_gpu([WIDE], GPU, False).likely == pytest.approx(1e10 / (MOVED[1] * 1e12))
    both = on_gpu([HEAVY, WIDE], GPU, False)
    assert both.likely == pytest.approx(on_gpu([HEAVY], GPU, False).likely + on_gpu([WIDE], GPU, False).likely)


def test_many_small_operations_are_bound_by_their_launches() -> None:
    assert on_gpu([SMALL] * 1000, GPU, False).likely == pytest.approx(1000 * LAUNCH[1])


def test_bf16_has_its_own_peak_and_half_the_bytes() -> None:
    assert on_gpu([HEAVY], GPU, True).likely == pytest.approx(on_gpu([HEAVY], GPU, False).likely / 4)
    assert on_gpu([WIDE], GPU, True).likely == pytest.approx(on_gpu([WIDE], GPU, False).likely / 2)


def test_a_gpu_without_bf16_stays_at_its_fp32_peak() -> None:
    old = named("t4")
    assert old.bf16 is None
    assert on_gpu([HEAVY], old, True) == on_gpu([HEAVY], old, False)


def test_ends_lie_around_what_is_likely() -> None:
    for operations in ([HEAVY], [WIDE], [SMALL] * 100):
        span = on_gpu(operations, named("h100"), False)
        assert 0 < span.low < span.likely < span.high


@pytest.mark.parametrize(("typed", "meant"), [("H100", "h100"), ("NVIDIA L4", "l4"), ("RTX 4090", "rtx-4090")])
def test_names_are_read_as_people_write_them(typed: str, meant: str) -> None:
    assert named(typed) is GPUS[meant]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError) as refused:
        named("h1000")
    assert all(name in refused.value.hint for name in GPUS)
    assert "'h100'" in refused.value.hint


@pytest.mark.parametrize("gpu", GPUS.values(), ids=GPUS.keys())
def test_numbers_are_of_a_kind(gpu: Gpu) -> None:
    assert 10e9 < gpu.memory < 400e9
    assert 2e11 < gpu.bandwidth < 2e13
    assert 5e12 < gpu.fp32 < 2e14
    assert gpu.bf16 is None or gpu.fp32 < gpu.bf16 < 5e15
    assert gpu.source

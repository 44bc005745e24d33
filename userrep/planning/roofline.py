"""The roofline: how long counted operations take on a GPU that is not here, by its peaks, under stated assumptions."""

from collections.abc import Sequence

from userrep.planning.gpus import Gpu
from userrep.planning.ledger import Operation
from userrep.planning.span import Span

# Of the peaks, what a program reaches at best, likely, at worst; and the seconds that PyTorch takes to launch an
# operation, which bound small ones: at best in CUDA graphs.
COMPUTED, MOVED, LAUNCH = (0.8, 0.5, 0.25), (0.9, 0.7, 0.4), (2e-6, 8e-6, 20e-6)

ASSUMED = (
    "an operation takes the longer of its arithmetic, at 50 % of the peak (25 to 80), and its bytes, at 70 % of the "
    "bandwidth (40 to 90); or PyTorch's 8 microseconds to launch it (2 to 20), where that is longer in all",
    "a tensor passes memory once an operation, nothing is fused; batches are ready in time; of a validation, and of "
    "what lies around epochs, only the GPU's own work is counted; in bf16 all but the update moves half the bytes",
)


def on_gpu(operations: Sequence[Operation], gpu: Gpu, half: bool) -> Span:
    """Return the seconds that operations take on a GPU; with `half` their arithmetic is bf16 and their bytes are half.

    Launching and computing overlap: the longer of the two counts.
    """
    peak = gpu.bf16 if half and gpu.bf16 else gpu.fp32
    taken = []
    for computed, moved, launch in zip(COMPUTED, MOVED, LAUNCH, strict=True):
        rate, band = computed * peak, moved * gpu.bandwidth * (2 if half else 1)
        busy = sum(max(one.flops / rate, one.traffic / band) for one in operations)
        taken.append(max(busy, launch * len(operations)))
    return Span(*taken)

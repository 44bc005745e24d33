"""Named GPUs: memory, bandwidth and peaks as their data sheets have them, for plans of machines that are not here."""

from dataclasses import dataclass

from userrep.errors import UsageError, suggest

GB, TFLOP = 10**9, 10**12


@dataclass(frozen=True)
class Gpu:
    """A GPU: bytes of memory, bytes a second, floating-point operations a second, and where the numbers are from.

    `bf16` is that of dense matrices on tensor cores, without sparsity, and None where there is no bf16. `fp32` is that
    of plain fp32, without TF32, which nothing here turns on.
    """

    name: str
    memory: float
    bandwidth: float
    bf16: float | None
    fp32: float
    source: str


def _gpu(name: str, memory: float, bandwidth: float, bf16: float | None, fp32: float, source: str) -> Gpu:
    return Gpu(name, memory * GB, bandwidth * GB, None if bf16 is None else bf16 * TFLOP, fp32 * TFLOP, source)


GPUS = {
    gpu.name: gpu
    for gpu in (  # GB, GB/s, TFLOP/s bf16, TFLOP/s fp32
        _gpu("b200", 180, 8000, 2250, 75, "NVIDIA HGX B200 data sheet"),
        _gpu("h200", 141, 4800, 989, 67, "NVIDIA H200 data sheet, SXM"),
        _gpu("h100", 80, 3350, 989, 67, "NVIDIA H100 data sheet, SXM"),
        _gpu("h100-pcie", 80, 2000, 756, 51, "NVIDIA H100 data sheet, PCIe"),
        _gpu("a100", 80, 2039, 312, 19.5, "NVIDIA A100 data sheet, 80 GB SXM"),
        _gpu("a100-40gb", 40, 1555, 312, 19.5, "NVIDIA A100 data sheet, 40 GB"),
        _gpu("l40s", 48, 864, 362, 91.6, "NVIDIA L40S data sheet"),
        _gpu("l4", 24, 300, 121, 30.3, "NVIDIA L4 data sheet"),
        _gpu("a10", 24, 600, 125, 31.2, "NVIDIA A10 data sheet"),
        _gpu("v100", 32, 900, None, 15.7, "NVIDIA V100 data sheet, 32 GB SXM2"),
        _gpu("t4", 16, 320, None, 8.1, "NVIDIA T4 data sheet"),
        _gpu("rtx-4090", 24, 1008, 165.2, 82.6, "NVIDIA Ada architecture paper"),
        _gpu("rtx-3090", 24, 936, 71, 35.6, "NVIDIA GA102 architecture paper"),
        _gpu("mi300x", 192, 5300, 1307, 163.4, "AMD Instinct MI300X data sheet"),
    )
}


def named(name: str) -> Gpu:
    """Return a GPU by its name, in any case and with spaces or hyphens.

    Raises UsageError, with those that are known, for another name.
    """
    key = "-".join(name.lower().replace("_", "-").split()).removeprefix("nvidia-").removeprefix("amd-")
    if key not in GPUS:
        raise UsageError(f"no data of a GPU named {name!r}", suggest(key, GPUS))
    return GPUS[key]

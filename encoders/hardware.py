"""What the machine is good at: devices, numbers of lower precision, and how cores are shared."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from encoders.errors import EncoderError

DTYPES = ("float32", "bfloat16", "float16")
_CPUINFO = Path("/proc/cpuinfo")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")

# Large tensors on huge pages, where Linux leaves them to be asked for: a batch of pictures in floats is new memory for every forward pass,
# and 4 kB at a time its page faults were a tenth of the pipeline's CPU time. torch reads this at its first allocation.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def devices() -> tuple[str, ...]:
    """Every CUDA device by name, or the CPU where there is none.

    Apple's "mps" must be asked for by name: it has computed other vectors than the CPU, which each encoder checks when its weights load.
    """
    import torch

    return tuple(f"cuda:{i}" for i in range(torch.cuda.device_count())) or ("cpu",)


def chosen(device: str) -> tuple[str, ...]:
    """The devices that a setting means: every one for "auto", best first, or the one that it names.

    Raises
    ------
    EncoderError : the name is none, or of a device that this machine (or this build of torch) lacks.
    """
    if device in {"auto", "cpu"}:
        return devices() if device == "auto" else ("cpu",)
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as problem:
        why, here = str(problem).splitlines()[0], ", ".join(dict.fromkeys((*devices(), "cpu")))
        raise EncoderError(f"device = {device!r} cannot be used here ({why}); give auto, or one of {here}") from None
    return (device,)


def dtypes(device: str, dtype: str = "auto") -> tuple[str, ...]:
    """Names of the dtypes to try on a device, best first.

    "auto" is bfloat16 on a CPU that has it in silicon (1.4 to 2 times as fast as float32 on AVX512-BF16, from 0.5 to 10 million parameters;
    elsewhere it is emulated, hundreds of times slower), bfloat16 on CUDA from compute capability 8.0, float16 on older CUDA, then float32:
    an encoder whose vectors move too far in half precision stays with float32. A dtype by name is tried alone.

    Raises
    ------
    EncoderError : the dtype is none that vectors can be computed in.
    """
    if dtype == "auto":
        half = _half(device)
        return (half, "float32") if half else ("float32",)
    if dtype not in DTYPES:
        raise EncoderError(f"dtype {dtype!r} is unknown; give auto, {', '.join(DTYPES)}")
    return (dtype,)


def bfloat16_in_silicon(cpuinfo: str | None = None) -> bool:
    """Whether the CPU multiplies bfloat16 itself (AVX512-BF16 or AMX), by what Linux reports; False where that cannot be read."""
    if cpuinfo is None:
        cpuinfo = _CPUINFO.read_text(encoding="utf-8", errors="replace") if _CPUINFO.is_file() else ""
    flags = next((line.split() for line in cpuinfo.splitlines() if line.startswith("flags")), [])
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)


def cores() -> int:
    """Cores that this process may use: its affinity, cut by the quota of its container."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _quota() or allowed))


def share_cores(device: str) -> int:
    """Tell torch how many threads one forward pass may take, and return how many passes to run at once.

    On a CPU each core encodes a batch of its own: a forward pass releases the interpreter, and one thread each is 1.2 to 1.7 times as fast
    as all cores on one batch (two cores: 236 against 199 pictures/s for ViT-Ti/32 in float32, 434 against 351 in bfloat16, batches of 64;
    10,800 against 5,900 short texts/s for the miniature). Where other processes want the cores too, the threads of one pass wait for each
    other, and it was up to five times as slow (19 pictures/s against 101). Call this before the threads that encode are started.
    On other devices one pass runs at a time.
    """
    if device.partition(":")[0] != "cpu":
        return 1
    import torch

    torch.set_num_threads(1)
    return cores()


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch take this many threads for one operation, and afterwards what it took before: other numbers give other sums."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _half(device: str) -> str:
    kind = device.partition(":")[0]
    if kind == "cpu":
        return "bfloat16" if bfloat16_in_silicon() else ""
    if kind == "cuda":
        import torch

        return "bfloat16" if torch.cuda.get_device_capability(device) >= (8, 0) else "float16"
    return ""


def _quota() -> int:
    """Whole cores of the container's quota, 0 for none ("max 100000" or no such file)."""
    limit, _, period = (_QUOTA.read_text(encoding="utf-8") if _QUOTA.is_file() else "max").partition(" ")
    return 0 if limit.strip() == "max" else math.ceil(int(limit) / int(period))

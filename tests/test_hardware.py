"""dtype, devices and threads follow the hardware, and bfloat16 is never chosen where it is emulated."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from encoders import hardware
from encoders.errors import EncoderError

ROOT = Path(__file__).parents[1]

# Lines of /proc/cpuinfo as Linux writes them for these processors, shortened.
CPUS = {
    "EPYC 9004 (Zen 4)": ("flags\t\t: fpu sse2 avx2 avx512f avx512bw avx512_bf16 avx512_vnni", True),
    "Xeon 4th generation": ("flags\t\t: fpu avx512f avx512_bf16 amx_bf16 amx_tile amx_int8", True),
    "Xeon 2nd generation": ("flags\t\t: fpu avx512f avx512dq avx512cd avx512bw avx512vl avx512_vnni", False),
    "EPYC 7003 (Zen 3)": ("flags\t\t: fpu sse2 avx avx2 f16c fma", False),
    "Graviton": ("Features\t: fp asimd i8mm bf16", False),
    "unknown": ("", False),
}


@pytest.mark.parametrize("device", ["foo", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_here_is_refused_with_those_that_are(device: str):
    with pytest.raises(EncoderError, match=rf"device = '{device}' cannot be used here \(.*\); give auto, or one of .*cpu"):
        hardware.chosen(device)
    assert hardware.chosen("cpu") == ("cpu",)


@pytest.mark.parametrize("cpu", CPUS)
def test_bfloat16_is_chosen_only_where_the_processor_multiplies_it(cpu: str):
    cpuinfo, expected = CPUS[cpu]
    assert hardware.bfloat16_in_silicon(f"processor\t: 0\n{cpuinfo}\nbugs\t\t: avx512_bf16") is expected


def test_what_is_read_of_this_processor_agrees_with_torch():

    if not hasattr(torch.cpu, "get_capabilities"):
        pytest.skip("this torch does not tell the processor's capabilities")
    capabilities = torch.cpu.get_capabilities()
    assert hardware.bfloat16_in_silicon() == bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def test_auto_ends_with_float32_and_a_name_is_taken_at_its_word(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hardware, "bfloat16_in_silicon", lambda: True)
    assert hardware.dtypes("cpu") == ("bfloat16", "float32")
    monkeypatch.setattr(hardware, "bfloat16_in_silicon", lambda: False)
    assert hardware.dtypes("cpu") == ("float32",)
    assert hardware.dtypes("cpu", "bfloat16") == ("bfloat16",)
    assert hardware.dtypes("mps") == ("float32",)
    with pytest.raises(EncoderError, match="dtype 'half' is unknown; give auto, float32, bfloat16, float16"):
        hardware.dtypes("cpu", "half")


def test_cores_are_what_affinity_and_the_containers_quota_allow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    allowed = len(os.sched_getaffinity(0))
    for quota, expected in (("max 100000\n", allowed), ("50000 100000\n", 1), ("150000 100000\n", min(2, allowed)), (None, allowed)):
        monkeypatch.setattr(hardware, "_QUOTA", tmp_path / "cpu.max")
        (tmp_path / "cpu.max").unlink(missing_ok=True)
        if quota:
            (tmp_path / "cpu.max").write_text(quota)
        assert hardware.cores() == expected


def test_sharing_the_cores_gives_each_later_thread_one():
    program = """
import torch
from concurrent.futures import ThreadPoolExecutor
from encoders import hardware
lanes = hardware.share_cores("cpu")
with ThreadPoolExecutor(lanes) as pool:
    print(lanes == hardware.cores(), set(pool.map(lambda _: torch.get_num_threads(), range(lanes))), hardware.share_cores("cuda:0"))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "True {1} 1"


def test_without_an_accelerator_the_only_device_is_the_cpu():

    assert hardware.devices() == (tuple(f"cuda:{i}" for i in range(torch.cuda.device_count())) or ("cpu",))

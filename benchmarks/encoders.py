"""How much of the raw forward pass is left of each encoder's speed when segments go through the pipeline's encode.

    python -m benchmarks.encoders [NAME ...] [--rounds 3]

Pipeline: `tasks.forward.Forward` over prepared segments, from sorting and cutting into batches over stacking, padding, restoring pixels,
the model, pooling and length one to the checks of every vector. Raw: the calls of the model that this made, again with the same tensors.
Both in float32 on one thread, in turn, by CPU time. Weights are random: `bert` is a MiniLM-L6, the others are the tests' tiny checkpoints
with wider layers (mostly 256 numbers, 6 layers), for tiny ones would measure Python alone; their media are short and small, so that what
the pipeline adds to each weighs more than it does with real ones.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import transformers as hf

from benchmarks import material
from encoders import registry
from tasks.forward import Forward, Tally
from tasks.prepared import Prepared

sys.path.append(str(Path(__file__).parents[1] / "tests"))

import tiny_pictures
import tiny_several
from fixed_weights import media
from tiny_registry import TINY

BATCH, SEGMENTS = 16, 32
WIDE = {"hidden_size": 256, "d_model": 256, "intermediate_size": 1024, "encoder_ffn_dim": 1024, "num_attention_heads": 4}
DEEP = {"num_hidden_layers": 6, "encoder_layers": 6, "embedding_size": 64, "hidden_sizes": [64, 128, 256, 512]}


class Recorder:
    """Writes down the outermost calls of a model's modules, to make them again."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.calls: list[Callable[[], Any]] = []
        self._depth = 0
        self._hooks = [hook for module in model.modules() for hook in self._watch(module)]

    def _watch(self, module: torch.nn.Module) -> list[Any]:
        def before(called: torch.nn.Module, args: Any, kwargs: Any) -> None:
            if self._depth == 0:
                self.calls.append(lambda: called(*args, **kwargs))
            self._depth += 1

        def after(*_: Any) -> None:
            self._depth -= 1

        return [module.register_forward_pre_hook(before, with_kwargs=True), module.register_forward_hook(after)]

    def stop(self) -> None:
        """Let the model run unwatched again."""
        for hook in self._hooks:
            hook.remove()


def main() -> None:
    """Measure and print one JSON object: by encoder, the pipeline's share of the raw speed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    figures = {}
    for name in asked.names or sorted(registry.ENCODERS):
        with tempfile.TemporaryDirectory() as place:
            figures[name] = _ratio(name, Path(place), asked.rounds)
    print(json.dumps({"machine": material.machine(), "of_raw": figures}, indent=1))


def _ratio(name: str, place: Path, rounds: int) -> Any:
    how = _checkpoint(name, place)
    encoder: Any = registry.build(registry.describe(name, **how), dtype="float32")
    window = _window(encoder, SEGMENTS)
    if not hasattr(encoder, "_loaded"):
        return "has no model"
    recorder = Recorder(encoder._loaded())
    _pipeline(encoder, window)
    recorder.stop()
    pairs = [(_cpu(lambda: _raw(recorder.calls)), _cpu(lambda: _pipeline(encoder, window))) for _ in range(rounds + 1)][1:]
    return {
        "raw_ms_per_segment": round(1000 * statistics.median(raw for raw, _ in pairs) / len(window), 2),
        "of_raw": round(statistics.median(raw / whole for raw, whole in pairs), 3),
    }


def _raw(calls: list[Callable[[], Any]]) -> None:
    with torch.inference_mode():
        for call in calls:
            call()


def _pipeline(encoder: Any, window: Prepared) -> None:
    with ThreadPoolExecutor(1) as pool:
        tally = Tally()
        Forward([encoder], window, BATCH, pool, tally).result()
    if tally.failures:
        raise SystemExit(
            f"{encoder.spec.encoder}: {len(tally.failures)} of {len(window)} segments failed, such as {tally.failures.popitem()}"
        )


def _cpu(call: Callable[[], None]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def _window(encoder: Any, count: int) -> Prepared:
    some = media(encoder.spec)
    prepared = [encoder.prepare(some[number % len(some)]) for number in range(count)]
    nothing = pa.nulls(count, pa.float64())
    inputs = {key: [one[key] for one in prepared] for key in prepared[0]}
    return Prepared(np.arange(count, dtype=np.int32), np.zeros(count, np.int32), nothing, nothing, pa.nulls(count, pa.string()), inputs)


def _checkpoint(name: str, place: Path) -> dict[str, Any]:
    tiny_pictures.VGG_WIDTHS = (32, 64, 128, 256, 256)
    tiny_several.TOWER.update(embed_dim=256, depth=6)
    tiny_several.WIDTH = 256
    tiny_several.TEXT.update(hidden_size=256, intermediate_size=1024, num_hidden_layers=6)
    for part in (tiny_several.STACK, tiny_several.AUDIO, tiny_several.VIDEO):
        part.update(hidden_size=256, intermediate_size=1024, num_hidden_layers=6, head_dim=128)
    how = TINY[name](place)
    folder = Path(how.get("weights", ""))
    known = set(hf.CONFIG_MAPPING.keys()) - {"pe_audio_video"}
    values = json.loads((folder / "config.json").read_text()) if (folder / "config.json").is_file() else {}
    if values.get("model_type") not in known:
        return how
    values = _widened(values)
    if name == "bert":
        values |= {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 12}  # MiniLM-L6
    if name.startswith("clap"):
        values["audio_config"] |= {"patch_embeds_hidden_size": 96, "hidden_size": 192, "depths": [2, 2], "num_attention_heads": [4, 8]}
    config = hf.CONFIG_MAPPING[values.pop("model_type")].from_dict(values)
    hf.AutoModel.from_config(config).save_pretrained(folder)
    (folder / "audio_head.safetensors").unlink(missing_ok=True)  # fits the narrow model
    return how


def _widened(values: Any) -> Any:
    """A configuration with wider and more layers, in all of its parts."""
    if not isinstance(values, dict):
        return values
    wanted = {**WIDE, **DEEP}
    larger = {key: wanted[key] if key in wanted and type(value) is type(wanted[key]) else _widened(value) for key, value in values.items()}
    return {key: 0.02 if key == "initializer_range" else 1.0 if key == "initializer_factor" else value for key, value in larger.items()}


if __name__ == "__main__":
    main()

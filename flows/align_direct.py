"""The alignment without Prefect: its steps, one after the other."""

from __future__ import annotations

from typing import Any

from flows import display
from flows.alignment import Alignment
from flows.direct import embed_direct


def align_direct(alignment: Alignment) -> dict[str, Any]:
    """From pairs to the space, in this process."""
    with alignment.alone():
        with alignment.timed("embedding"):
            for modality in alignment.modalities:
                with display.progress(f"embedding {modality}"):
                    embed_direct(alignment.bucket_run(modality))
        alignment.divide()
        if done := alignment.done():
            return done
        with display.steps() as told:
            alignment.train(lambda step: told("training", step.step, step.steps, f"loss {step.loss:.4f}"))
        alignment.calibrate()
        return alignment.write()

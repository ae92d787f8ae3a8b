"""The alignment without Prefect, and what a command makes of either."""

from __future__ import annotations

from typing import Any

from flows import display
from flows.align_opening import open_alignment
from flows.alignment import Alignment
from flows.direct import embed_direct
from flows.local_server import prefect_api
from flows.settings import AlignSettings


def drive_align(asked: AlignSettings, *, direct: bool) -> dict[str, Any]:
    """The account of an alignment; what refuses it is raised."""
    alignment = open_alignment(asked)  # refuses before a server is started
    return align_direct(alignment) if direct else _as_flow(asked)


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


def _as_flow(asked: AlignSettings) -> dict[str, Any]:
    with prefect_api() as ui:
        from flows.align import align

        display.err.print(f"watch the run while it lasts: {ui}/runs")
        state = align(asked, return_state=True)
        outcome = state.result(raise_on_failure=False)
    if isinstance(outcome, BaseException):
        raise outcome
    assert isinstance(outcome, dict)  # noqa: S101 - the flow returns nothing else
    return outcome

"""The alignment as Prefect shows it: embedding, training with its curve while it lasts, and a report with figures before and after."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any
from uuid import UUID

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from encoders.align.training import History, Step
from flows.align_opening import open_alignment
from flows.align_report import curves, markdown, verdict
from flows.alignment import Alignment
from flows.bucket_run import REFUSALS
from flows.embed import PLAIN, RUNNER, run_as_tasks
from flows.settings import AlignSettings
from tasks.charts import as_markdown
from tasks.split import Split

BAR_SECONDS, CURVE_SECONDS = 1.0, 20.0  # between two updates in the UI, each of which is a request to the server


@flow(
    name="align",
    flow_run_name="align {settings.name}",
    persist_result=False,
    task_runner=RUNNER,  # type: ignore[arg-type]  # its futures are a subclass of what the flow is typed to take
)
def align(settings: AlignSettings) -> State[Any]:
    """Learn from pairs how encoders come into one space, and write that space.

    Returns a state rather than raising, as `flows.embed.embed` does; its data is the account, or the exception that refused the run.
    """
    try:
        alignment = open_alignment(settings)
        with alignment.alone():
            account = _run(alignment)
    except REFUSALS as problem:
        get_run_logger().error("%s", problem)
        return Failed(message=str(problem), data=problem)
    create_markdown_artifact(key="align-report", markdown=markdown(account, alignment), description="What the alignment learned")
    get_run_logger().info("%s", verdict(account))
    return Completed(message=verdict(account), data=account)


def _run(alignment: Alignment) -> dict[str, Any]:
    bar = create_progress_artifact(0.0, key="align-progress", description=f"{alignment.settings.name}: embedding")
    assert isinstance(bar, UUID)  # noqa: S101 - a coroutine only inside an async flow

    @task(name="divide", task_run_name="divide", **PLAIN)
    def divide() -> Split:
        """Put every pair on a side, by the content of its media."""
        return alignment.divide()

    @task(name="train", task_run_name="train", **PLAIN)
    def train() -> History:
        """Train on the train side; the validation side says when to stop."""
        return alignment.train(_noted(alignment, bar))

    @task(name="calibrate", task_run_name="calibrate", **PLAIN)
    def calibrate() -> None:
        """Close the gap between modalities, where the validation side says that it helps."""
        alignment.calibrate()

    @task(name="write", task_run_name="write", **PLAIN)
    def write() -> dict[str, Any]:
        """Take the figures of the test side, and write the space."""
        return alignment.write()

    with alignment.timed("embedding"):
        for modality in alignment.modalities:
            run_as_tasks(alignment.bucket_run(modality))
    divide()
    if done := alignment.done():
        return done
    train()
    _show_curve(alignment)
    calibrate()
    return write()


def _noted(alignment: Alignment, bar: UUID) -> Callable[[Step], None]:
    shown = {"bar": 0.0, "curve": monotonic()}

    def note(step: Step) -> None:
        now = monotonic()
        if now - shown["bar"] >= BAR_SECONDS or step.step == step.steps:
            words = f"{alignment.settings.name}: step {step.step} of {step.steps}, loss {step.loss:.4f}, scale {step.scale:.1f}"
            update_progress_artifact(bar, progress=min(100.0, 100 * step.step / step.steps), description=words)
            shown["bar"] = now
        if step.metrics and now - shown["curve"] >= CURVE_SECONDS:
            _show_curve(alignment)
            shown["curve"] = now

    return note


def _show_curve(alignment: Alignment) -> None:
    # Markdown rather than an image artifact: under that, the UI prints its whole address, which is the picture itself.
    told = "\n\n".join(as_markdown(picture, name) for name, picture in curves(alignment).items())
    create_markdown_artifact(key="align-curve", markdown=told, description="Loss, and the validation side's figures")

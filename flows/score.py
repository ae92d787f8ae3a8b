"""The scheduled score: how well a table answers pairs that are known, with a verdict that a schedule can act on, visible in Prefect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from flows.score_run import REFUSALS, open_score, score_table
from flows.settings import ScoreSettings
from tasks.score_report import markdown


@flow(name="score", flow_run_name="score {settings.table} of {settings.database}", persist_result=False)
def score(settings: ScoreSettings) -> State[Any]:
    """Score a table by pairs; fail if a threshold is missed.

    Returns a state, as the flow `embed` does; its data is the report, or the exception that refused the run.
    """
    try:
        report = score_table(open_score(settings), _as_task)
    except REFUSALS as problem:
        get_run_logger().error("%s", problem)
        return Failed(message=str(problem), data=problem)
    create_markdown_artifact(key="score-report", markdown=markdown(report), description=report["verdict"])
    get_run_logger().info("%s", report["verdict"])
    state = Completed if report["met"] else Failed
    return state(message=report["verdict"], data=report)


def _as_task(name: str, call: Callable[[], Any]) -> Any:
    return task(name=name, task_run_name=name, persist_result=False, cache_policy=NO_CACHE)(call)()

"""The scheduled maintenance: a table's index is made, measured and published only if it finds what it should, visible in Prefect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from flows.maintain_run import REFUSALS, maintain_table, open_maintain
from flows.settings import MaintainSettings
from tasks.maintain_report import markdown


@flow(name="maintain", flow_run_name="maintain {settings.table} of {settings.database}", persist_result=False)
def maintain(settings: MaintainSettings) -> State[Any]:
    """Maintain a table; fail if its index misses the recall that was asked for.

    Returns a state, as the flow `embed` does; its data is the report, or the exception that refused the run.
    """
    try:
        report = maintain_table(open_maintain(settings), _as_task)
    except REFUSALS as problem:
        get_run_logger().error("%s", problem)
        return Failed(message=str(problem), data=problem)
    create_markdown_artifact(key="maintain-report", markdown=markdown(report), description=report["verdict"])
    get_run_logger().info("%s", report["verdict"])
    state = Completed if report["met"] else Failed
    return state(message=report["verdict"], data=report)


def _as_task(name: str, call: Callable[[], Any]) -> Any:
    return task(name=name, task_run_name=name, persist_result=False, cache_policy=NO_CACHE)(call)()

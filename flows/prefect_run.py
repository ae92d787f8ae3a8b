"""Run the flow in this process, against the configured Prefect API or a local server."""

from __future__ import annotations

from flows import display
from flows.local_server import LocalServer, prefect_api
from flows.settings import EmbedSettings
from tasks.report import Account


def run_flow(asked: EmbedSettings, server: LocalServer | None = None) -> Account:
    """The account of the run; what refused it is raised.

    Parameters
    ----------
    server : a local server that was started ahead; it is stopped in the end.
    """
    with prefect_api(server) as ui:
        from flows.embed import embed

        display.err.print(f"watch the run while it lasts: {ui}/runs")
        with display.progress("embedding"):
            state = embed(asked, return_state=True)
        outcome = state.result(raise_on_failure=False)
    if isinstance(outcome, BaseException):
        raise outcome
    assert isinstance(outcome, Account)  # noqa: S101 - the flow returns nothing else
    return outcome

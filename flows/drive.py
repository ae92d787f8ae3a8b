"""Drive one run in this process: as a Prefect flow against the configured API or a local server, or directly."""

from __future__ import annotations

from flows import display
from flows.bucket_run import open_run
from flows.local_server import LocalServer, prefect_api
from flows.settings import EmbedSettings
from tasks.report import Account


def drive(asked: EmbedSettings, *, direct: bool, server: LocalServer | None = None) -> tuple[Account, str, bool]:
    """The account of a run, its verdict in one line, and whether it did what was asked; what refuses the run is raised.

    Parameters
    ----------
    direct : without Prefect.
    server : a local server that was started ahead; it is stopped in the end.
    """
    bucket_run = open_run(asked)  # refuses before a server is started
    if direct:
        from flows.direct import embed_direct

        with display.progress("embedding"):
            account = embed_direct(bucket_run)
    else:
        account = _as_flow(asked, server)
    return account, bucket_run.verdict(account), bucket_run.good_enough(account)


def _as_flow(asked: EmbedSettings, server: LocalServer | None) -> Account:
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

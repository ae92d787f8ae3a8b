"""Drive one run in this process: as a Prefect flow against the configured API or a local server, or directly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flows import display
from flows.embed_opening import open_run
from flows.local_server import LocalServer, prefect_api
from flows.score_run import STEPS, open_score, score_table
from flows.settings import AlignSettings, EmbedSettings, MaintainSettings, ScoreSettings
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
        account = _as_flow(_embed, asked, server)
    return account, bucket_run.verdict(account), bucket_run.good_enough(account)


def drive_score(asked: ScoreSettings, *, direct: bool) -> dict[str, Any]:
    """The report of a score; its "met" tells whether all thresholds were met. What refuses it is raised."""
    score_run = open_score(asked)
    if not direct:
        report: dict[str, Any] = _as_flow(_score, asked, None)
        return report
    with display.steps() as told:

        def step(name: str, call: Callable[[], Any]) -> Any:
            told("scoring", STEPS.index(name), len(STEPS), name)
            return call()

        return score_table(score_run, step)


def drive_align(asked: AlignSettings, *, direct: bool) -> dict[str, Any]:
    """The account of an alignment; what refuses it is raised."""
    from flows.align_opening import open_alignment

    alignment = open_alignment(asked)
    if direct:
        from flows.align_direct import align_direct

        return align_direct(alignment)
    account: dict[str, Any] = _as_flow(_align, asked, None)
    return account


def drive_maintain(asked: MaintainSettings, *, direct: bool) -> dict[str, Any]:
    """The report of a maintenance; its "met" tells whether readers have what was asked for. What refuses it is raised."""
    from flows.maintain_run import MOST_STEPS, maintain_table, open_maintain

    run = open_maintain(asked)
    if not direct:
        report: dict[str, Any] = _as_flow(_maintain, asked, None)
        return report
    with display.steps() as told:
        names: list[str] = []

        def step(name: str, call: Callable[[], Any]) -> Any:
            told("maintaining", len(names), MOST_STEPS, name)
            names.append(name)
            return call()

        return maintain_table(run, step)


def _as_flow(
    flow: Callable[[Any], Any], asked: EmbedSettings | AlignSettings | ScoreSettings | MaintainSettings, server: LocalServer | None
) -> Any:
    """What a flow's final state holds; an exception that it holds is raised."""
    with prefect_api(server) as ui:
        display.err.print(f"watch the run while it lasts: {ui}/runs")
        state = flow(asked)
        outcome = state.result(raise_on_failure=False)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _embed(asked: EmbedSettings) -> Any:
    from flows.embed import embed

    with display.progress("embedding"):
        return embed(asked, return_state=True)


def _align(asked: AlignSettings) -> Any:
    from flows.align import align

    return align(asked, return_state=True)


def _score(asked: ScoreSettings) -> Any:
    from flows.score import score

    return score(asked, return_state=True)


def _maintain(asked: MaintainSettings) -> Any:
    from flows.maintain import maintain

    return maintain(asked, return_state=True)

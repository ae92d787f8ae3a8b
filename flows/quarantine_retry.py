"""Try quarantined objects again: mark them, and run their sources with the settings of the last run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lancedb.db import DBConnection

from flows.settings import EmbedSettings, SettingsError
from storage import quarantine, runs
from storage.table import connect

PAST = 1_000  # runs to look back for the settings of a source


def mark(database: str, table: str, reason: str | None, uris: Sequence[str] | None) -> list[str]:
    """Mark objects so that the next run tries them although they have not changed; the URIs that were marked."""
    db = connect(database, must_exist=True)
    chosen = _choose(db, table, reason, uris)
    quarantine.mark_for_retry(db, table, uris=chosen)
    return chosen


def forget(database: str, table: str, reason: str | None, uris: Sequence[str] | None) -> list[str]:
    """Strike objects off the quarantine; the URIs that were struck."""
    db = connect(database, must_exist=True)
    chosen = _choose(db, table, reason, uris)
    quarantine.forget(db, table, uris=chosen)
    return chosen


def settings_of_sources(database: str, table: str, uris: Sequence[str]) -> list[EmbedSettings]:
    """The settings of the last finished run of each source that some of the objects come from."""
    past: dict[str, dict[str, Any]] = {}
    for account in runs.latest(connect(database, must_exist=True), table, PAST).get_column("account").drop_nulls():
        told = json.loads(account)
        past.setdefault(told["source"], told["settings"])
    wanted = [source for source in past if any(uri == source or uri.startswith(source.rstrip("/") + "/") for uri in uris)]
    if not wanted:
        raise SettingsError(
            "no finished run tells where these objects come from; run `sensorium embed SOURCE DATABASE`, which tries them again"
        )
    return [EmbedSettings(**past[source]) for source in wanted]


def _choose(db: DBConnection, table: str, reason: str | None, uris: Sequence[str] | None) -> list[str]:
    held = quarantine.load(db, table)
    unknown = sorted(set(uris or ()) - set(held.get_column("uri")))
    if unknown:
        raise SettingsError(f"not in quarantine: {', '.join(unknown)}; see `sensorium quarantine list`")
    if reason is not None and reason not in set(held.get_column("reason")):
        known = ", ".join(sorted(set(held.get_column("reason")))) or "none"
        raise SettingsError(f"no object is in quarantine for reason {reason!r}; reasons are: {known}")
    return quarantine.chosen(held, uris, reason).get_column("uri").to_list()

"""The commands `sensorium quarantine …`."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.command import Database, Json, TableName, print_json, refusing

app = typer.Typer(help="Objects that could not be embedded: see them, try them again, forget them.", no_args_is_help=True)


@app.command("list")
def quarantine_list(database: Database, table: TableName = "media", as_json: Json = False) -> None:
    """Every object in quarantine, with stage, reason, attempts, first and last time."""
    with refusing():
        from flows import display
        from storage import quarantine as held
        from storage.table import connect

        rows = held.load(connect(database, must_exist=True), table).sort("uri").to_dicts()
        if as_json:
            print_json(rows)
        else:
            display.show_quarantine(rows)


Uris = Annotated[list[str] | None, typer.Option("--uri", help="Only this object; may be given several times.")]
Reason = Annotated[str | None, typer.Option(help="Only objects of this reason.")]


@app.command("retry")
def quarantine_retry(
    database: Database,
    table: TableName = "media",
    reason: Reason = None,
    uri: Uris = None,
    later: Annotated[bool, typer.Option("--later", help="Only mark them; the next run tries them.")] = False,
    direct: Annotated[bool, typer.Option("--direct", help="Run without Prefect.")] = False,
    as_json: Json = False,
) -> None:
    """Try objects in quarantine again: all, by reason, or by URI; at once, with the settings of the last run of their source."""
    with refusing():
        from flows import display
        from flows import quarantine_retry as retry
        from flows.drive import drive

        marked = retry.mark(database, table, reason, uri)
        runs = [] if later or not marked else retry.settings_of_sources(database, table, marked)
        outcomes = [drive(asked, direct=direct) for asked in runs]
        if as_json:
            print_json({"marked": len(marked), "runs": [account.to_dict() for account, _, _ in outcomes]})
        else:
            display.out.print(f"{len(marked)} objects are tried again {'by the next run' if not runs else 'now'}")
            for account, verdict, _ in outcomes:
                display.show_account(account, verdict)
    if not all(good for _, _, good in outcomes):
        raise typer.Exit(1)


@app.command("forget")
def quarantine_forget(
    database: Database, table: TableName = "media", reason: Reason = None, uri: Uris = None, as_json: Json = False
) -> None:
    """Strike objects off the quarantine; the next run that lists them takes them for new."""
    with refusing():
        from flows import display
        from flows import quarantine_retry as retry

        gone = retry.forget(database, table, reason, uri)
        print_json({"forgotten": len(gone)}) if as_json else display.out.print(f"{len(gone)} objects forgotten")

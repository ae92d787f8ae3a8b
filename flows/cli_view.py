"""The command `sensorium view`."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.command import Database, Json, TableName, fail, print_json, refusing

if TYPE_CHECKING:
    from encoders.spec import Space


def view(
    database: Database,
    table: TableName = "media",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of 127.0.0.1; 0 takes a free one.")] = 8765,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    source: Annotated[str, typer.Option(help="Where the objects lie now, if they have moved since they were embedded.")] = "",
    space: Annotated[str | None, typer.Option(help="The table's space, if its weights have moved: a name or TOML file.")] = None,
    as_json: Json = False,
) -> None:
    """Show the table on a page for this machine's browser: search, listen, look, the map, quarantine and runs. Ctrl-C ends it."""
    from flows import secret_blocks
    from retrieval.page import serving
    from retrieval.page.library import Library

    secret_blocks.install()
    library = Library(database, table, functools.partial(_space, space) if space else None, source)
    if not _seen(database, table):
        with refusing():
            library.open()  # says what is the matter, before anybody is shown a page
    say = _say_json if as_json else _say
    try:
        served = serving.listen(port)
    except serving.PortError as problem:
        fail(str(problem))
    try:
        serving.serve(library, served, browser=browser and not as_json, say=say)
    except Exception as problem:
        with refusing():
            raise problem


def _seen(database: str, table: str) -> bool:
    """Whether a table seems to be there, as far as that can be told without LanceDB, which takes longer to load than the page."""
    return "://" in database or Path(database, f"{table}.lance").is_dir()


def _say(address: str) -> None:
    typer.echo(f"{address}  (only from this machine; Ctrl-C ends it)")


def _say_json(address: str) -> None:
    print_json({"address": address})
    sys.stdout.flush()  # read while the page is served, not when it ends


def _space(named: str) -> Space:
    from encoders.spaces import load_space

    return load_space(named)

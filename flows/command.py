"""What every command of `sensorium` has in common: refusals of one line, JSON for machines, and the names of its arguments."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
TableName = Annotated[str, typer.Option("--table", help="Table in the database.")]
Database = Annotated[str, typer.Argument(help="LanceDB database: a folder or an object-store URL.")]


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what the ask or the surroundings got wrong into one line and exit code 2."""
    try:
        yield
    except _refusals() as problem:  # evaluated, and so imported, only when something was raised
        fail(str(problem))


def _refusals() -> tuple[type[Exception], ...]:
    from encoders.errors import EncoderError, MediumError
    from flows.settings import SettingsError
    from retrieval.query import QueryError
    from storage.errors import StorageError
    from storage.row_files import RowFileError
    from tasks.isolate import WorkerStartError
    from tasks.pairs import PairsError
    from tasks.plan import RefusedError

    asked = (SettingsError, PairsError, RowFileError, QueryError, RefusedError)
    return (*asked, EncoderError, MediumError, StorageError, WorkerStartError, OSError)


def fail(message: str) -> NoReturn:
    """Print one message to stderr and leave with exit code 2."""
    print(f"sensorium: {message}", file=sys.stderr)  # noqa: T201 - this is the command's voice
    raise typer.Exit(2)


def print_json(value: Any) -> None:
    """One JSON value on stdout, in UTF-8 whatever the terminal says."""
    sys.stdout.buffer.write(json.dumps(value, ensure_ascii=False, default=str).encode() + b"\n")

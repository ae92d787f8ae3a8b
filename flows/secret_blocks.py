"""Keys that Prefect keeps: "secret:NAME" is read from the Secret block NAME when it is needed, and goes nowhere but to its server."""

from __future__ import annotations

from typing import Any

from encoders.errors import EncoderError
from encoders.remote import keys

SCHEME = "secret"


def install() -> None:
    """Let encoders name a Secret block as their key; Prefect is imported only when one is read."""
    keys.keep(SCHEME, read)


def read(name: str) -> str:
    """The value of a Secret block.

    Raises
    ------
    EncoderError : there is no such block, it holds no text, or Prefect's API cannot be reached.
    """
    from flows.local_server import quiet_console

    quiet_console()
    from prefect.blocks.system import Secret

    try:
        block: Any = Secret.load(name, _sync=True)  # type: ignore[call-arg]  # wherever a loop runs
        value = block.get()
    except Exception as problem:  # noqa: BLE001 - Prefect raises its own errors, httpx's, and ValueError for no such block
        raise EncoderError(f"Prefect's Secret block {name!r} cannot be read ({type(problem).__name__}: {problem})"[:500]) from None
    if not isinstance(value, str) or not value.strip():
        raise EncoderError(f"Prefect's Secret block {name!r} holds no text; save the key in it as it is")
    return value

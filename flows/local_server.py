"""A Prefect server for the length of one command, where none is configured.

Prefect would start a temporary one by itself, but waits only 20 s for it, prints its noise, and shows no UI.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

START_SECONDS = 120.0  # an empty home is migrated first: 15 s on two cores
_SERVE = """
import ctypes, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 15)  # end with the command that started it
import uvicorn
uvicorn.run("prefect.server.api.server:create_app", factory=True, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", lifespan="on")
"""


class ServerError(OSError):
    """The server did not come up."""


class LocalServer:
    """A server on a free port of this machine; `wait` until it answers."""

    def __init__(self) -> None:
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server
        environment = os.environ | {
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_UI_API_URL": f"{self.url}/api",
            "PREFECT_API_URL": f"{self.url}/api",
        }
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
            [sys.executable, "-c", _SERVE, str(self.port)], env=environment, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )

    def wait(self) -> None:
        """Return when the server answers, or raise ServerError with its last words."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/api/health", timeout=2.0).is_success:
                    return
            except httpx.HTTPError:
                time.sleep(0.2)
        self._log.seek(0)
        words = self._log.read().decode(errors="replace").strip().splitlines()
        self.stop()
        raise ServerError(f"a local Prefect server did not start; its last words: {words[-1] if words else 'none'}; or run with --direct")

    def stop(self) -> None:
        """End the server."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


@contextmanager
def prefect_api(server: LocalServer | None = None) -> Iterator[str]:
    """Yield the URL of Prefect's UI: of the configured API, or of a local server that lives inside this block.

    Parameters
    ----------
    server : a local server that was started ahead, to be used and stopped.
    """
    quiet_console()
    from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

    if configured := PREFECT_API_URL.value():
        if server is not None:
            server.stop()
        yield PREFECT_UI_URL.value() or configured.removesuffix("/api")
        return
    server = server or LocalServer()
    server.wait()
    try:
        with temporary_settings({PREFECT_API_URL: f"{server.url}/api"}):
            yield server.url
            _send_last_lines()
    finally:
        server.stop()


def _send_last_lines() -> None:
    """Log lines are sent in the background; those that come after the server has stopped would be complained about."""
    from prefect.logging.handlers import APILogHandler

    APILogHandler().flush()


def api_is_configured() -> bool:
    """Whether the environment or the active profile names a Prefect API."""
    quiet_console()
    from prefect.settings import PREFECT_API_URL

    return bool(PREFECT_API_URL.value())


def quiet_console() -> None:
    """Keep Prefect's log lines for its UI: the command prints its own. Must come before Prefect is imported."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

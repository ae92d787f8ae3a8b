"""The server of the page: on loopback alone, listening before the table is open, ended by Ctrl-C."""

from __future__ import annotations

import contextlib
import socket
import threading
import webbrowser
from collections.abc import Callable

import uvicorn

from retrieval.page.library import Library
from retrieval.page.server import make_app

ADDRESS = "127.0.0.1"
LAST_SECONDS = 2  # that answers under way have to end


class PortError(OSError):
    """The page cannot be served at this port."""


def listen(port: int) -> socket.socket:
    """A socket that listens on loopback; port 0 takes a free one. PortError, which says what to do, where the port is taken."""
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((ADDRESS, port))
    except OSError as error:
        server.close()
        raise PortError(
            f"port {port} of {ADDRESS} cannot be had ({error.strerror}); another page may use it: give another --port, or 0 for a free one"
        ) from error
    return server


def address(server: socket.socket) -> str:
    """What to open in a browser."""
    return f"http://{ADDRESS}:{server.getsockname()[1]}/"


def serve(library: Library, server: socket.socket, *, browser: bool = False, say: Callable[[str], None] = lambda _: None) -> None:
    """Serve the page of a library until Ctrl-C.

    The table is opened beside it; a table that cannot be opened ends it, and is raised.

    Parameters
    ----------
    server : from `listen`.
    browser : open the page there.
    say : told the address, once somebody answers under it.
    """
    config = uvicorn.Config(make_app(library), log_level="warning", lifespan="off", timeout_graceful_shutdown=LAST_SECONDS)
    served = uvicorn.Server(config)
    problems: list[Exception] = []

    def open_table() -> None:
        try:
            library.open()
        except Exception as problem:  # noqa: BLE001 - whatever it is, it is raised in the thread that waits
            problems.append(problem)
            served.should_exit = True
            return
        library.warm()

    server.listen(128)
    say(address(server))
    threading.Thread(target=open_table, name="open", daemon=True).start()
    if browser:
        threading.Thread(target=webbrowser.open, args=(address(server),), name="browser", daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        served.run(sockets=[server])
    if problems:
        raise problems[0]

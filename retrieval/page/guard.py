"""Who may ask the page: this machine's own browser, on the page's own account, and nobody else through it.

A server on loopback is within reach of every web page that the same browser has open. Three doors are shut here: a foreign name that was
made to point to 127.0.0.1 (DNS rebinding; the Host header tells), requests that another site's page sends (Origin and Sec-Fetch-Site, W3C
Fetch Metadata), and what would run as part of the page (Content-Security-Policy without inline scripts and with Trusted Types).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = ("GET", "HEAD", "POST")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}

# Any port: through `ssh -L 9000:127.0.0.1:8765` the browser names another one.
_LOOPBACK = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?", re.IGNORECASE)
_FOREIGN = ("cross-site", "same-site")


class Guard:
    """ASGI middleware: refuses before the application sees a request, and puts `HEADERS` on every answer.

    Parameters
    ----------
    app : what answers those who may ask.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it with 403, 405 or 421."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = refused(scope["method"], scope["path"], Headers(scope=scope))
        answer = PlainTextResponse(refusal[1] + "\n", refusal[0]) if refusal else self._app
        await answer(scope, receive, with_headers)


def refused(method: str, path: str, headers: Headers) -> tuple[int, str] | None:
    """Status and reason, if a request may not be answered."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not _LOOPBACK.fullmatch(hosts[0]):
        return 421, "this page answers only under localhost, 127.0.0.1 or [::1]; open the address that `sensorium view` printed"
    if method not in METHODS:
        return 405, f"allowed methods are {', '.join(METHODS)}"
    origins = headers.getlist("origin")
    if origins and origins != [f"http://{hosts[0]}"]:
        return 403, "another site's page may not ask this one"
    if headers.get("sec-fetch-site") in _FOREIGN and not _is_a_link_followed(method, path, headers):
        return 403, "another site's page may not ask this one"
    return None


def _is_a_link_followed(method: str, path: str, headers: Headers) -> bool:
    """Whether a person came here by a link: that shows the page, and tells the other site nothing."""
    whole = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return method == "GET" and path == "/" and whole

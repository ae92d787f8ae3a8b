"""What the servers of OpenAI's protocol have in common: their address, the client, and what a failure of theirs means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from encoders.errors import EncoderError

if TYPE_CHECKING:
    from httpx2 import Client, Request, Response
    from openai import OpenAI

OPENAI = "api.openai.com"
CONNECT_SECONDS = 10.0

_PASSING = frozenset({408, 409, 424, 425, 429})
_TERMINAL_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "account_deactivated"})
_HEADERS = frozenset({"host", "accept", "accept-encoding", "connection", "content-type", "content-length", "user-agent"})
_RAW = "x-stainless-raw-response"  # by which the client remembers that the answer is wanted as it came
_OWNER = frozenset({"openai-organization", "openai-project"})  # from the environment, as the client reads it; for OpenAI alone


def checked_url(url: str, insecure: bool) -> str:
    """A server's base address without its last slash; EncoderError unless it is one, carries no secret, and hides what is sent to it.

    Parameters
    ----------
    insecure : allow http to another machine.
    """
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise EncoderError("a url that carries a user, a password or a query is not taken (nor shown); name the key with the option key")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise EncoderError(f"url {url!r} is no address; write one such as https://{OPENAI}/v1")
    if parts.scheme == "http" and not (insecure or _is_this_machine(parts.hostname)):
        raise EncoderError(f"{url} would carry texts and key unencrypted; use https, or insecure = true in a network that you trust")
    return url.rstrip("/")


def open_client(url: str, key: str, timeout: float, proxies: bool) -> OpenAI:
    """A client of the protocol that sends what it is given, and nothing else of this machine.

    Parameters
    ----------
    key : the key itself, "" for none.
    timeout : seconds that an answer may take; a connection takes at most ten of them.
    proxies : obey HTTPS_PROXY and its like.
    """
    from httpx2 import Client, Limits, Timeout
    from openai import OpenAI

    def plain(request: Request) -> None:
        """Send the texts and the key alone: the client adds this machine's system and what it finds in environment variables."""
        kept = {_RAW} | _HEADERS | (_OWNER if request.url.host == OPENAI else frozenset())
        for name in [name for name in request.headers if name.lower() not in kept]:
            del request.headers[name]
        if key:
            request.headers["authorization"] = f"Bearer {key}"

    transport: Client = Client(
        timeout=Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
        limits=Limits(max_connections=None, max_keepalive_connections=None),
        trust_env=proxies,
        follow_redirects=False,
        event_hooks={"request": [plain]},
    )
    return OpenAI(api_key=key or "none", base_url=url, max_retries=0, http_client=transport, timeout=transport.timeout)


def passes(status: int, problem: Mapping[str, Any]) -> bool:
    """Whether a failure may pass: no account is empty, and the server was busy, slow or broken."""
    if status == 429 and {problem.get("code"), problem.get("type")} & _TERMINAL_CODES:
        return False
    return status in _PASSING or status >= 500


def safe(words: object, key: str) -> str:
    """What a server or library says, in one line of at most 500 characters, without the key."""
    line = " ".join(str(words).split())
    return (line.replace(key, "[the key]") if key else line)[:500]


def problem_of(response: Response) -> Mapping[str, Any]:
    """The protocol's {"error": {"message", "type", "param", "code"}}, or what comes near to it."""
    try:
        body = json.loads(response.content)
    except ValueError:
        return {"message": response.text[:300]}
    problem = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(problem, dict):
        return {"message": problem}
    named = {name: problem.get(name) if isinstance(problem.get(name), str) else None for name in ("type", "param", "code")}
    return {"message": problem.get("message") or problem.get("detail") or problem, **named}


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False

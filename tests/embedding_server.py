"""A real HTTP server that speaks the protocol of OpenAI's embeddings, with its limits and its failures.

Its vectors can be checked by hand: `vector_of` depends on the text alone.
"""

from __future__ import annotations

import base64
import email.utils
import hashlib
import json
import re
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

BAD = "UNSPEAKABLE"  # a text that holds this is refused
LOST = "LOST"  # a text that holds this gets no numbers


def vector_of(text: str, dimension: int = 12) -> np.ndarray:
    """The server's vector of a text, of length 3 to 5: a normal draw seeded by the text's SHA-256."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).normal(0, 1, 12)[:dimension].astype(np.float32)


@dataclass
class Answer:
    """What goes back: a status, a JSON body or raw bytes, headers; None for the body drops the connection."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    after: float = 0.0


def failure(status: int, message: str, code: str | None = None, param: str | None = None, after: float = 0.0, **headers: str) -> Answer:
    """A failure as the protocol tells it."""
    error = {"message": message, "type": "invalid_request_error" if status < 429 else "server_error", "param": param, "code": code}
    return Answer(status, {"error": error}, {name.replace("_", "-"): value for name, value in headers.items()}, after)


def limited(**headers: str) -> Answer:
    """Too many requests."""
    return failure(429, "Rate limit reached", "rate_limit_exceeded", **headers)


def in_seconds(seconds: float, clock: float = 0.0) -> dict[str, str]:
    """Retry-After as a date, and the server's own clock, which may be wrong."""
    now = time.time() + clock
    return {"retry_after": email.utils.formatdate(now + seconds, usegmt=True), "date": email.utils.formatdate(now, usegmt=True)}


DROPPED = Answer(status=0)

Change = Callable[[Answer], Answer]


class EmbeddingServer:
    """A server on a free port of loopback.

    Tests set what it should do: `script` holds what becomes of the next requests, in order (None for what is usual); `always` what becomes
    of all; `change` alters what is usual.
    """

    model = "tiny-embedding"
    dimension = 12

    def __init__(self, key: str = "") -> None:
        self.key = key
        self.most_inputs, self.most_tokens, self.context = 2_048, 300_000, 8_192
        self.quota = float("inf")  # inputs that are paid for
        self.only_floats = self.fixed_dimension = False
        self.script: deque[Answer | None] = deque()
        self.always: Answer | None = None
        self.change: Change | None = None
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.at_once = self.most_at_once = self.tokens = self.inputs = 0
        self.lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._http.shutdown()
        self._http.server_close()

    def sent(self) -> list[list[str]]:
        """Texts of each request."""
        return [request["input"] for request in self.requests]

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """What becomes of a request."""
        request = json.loads(body)
        with self.lock:
            self.requests.append(request)
            self.headers.append(headers)
            self.times.append(time.monotonic())
            scripted = self.script.popleft() if self.script else None
        planned = scripted or self.always
        if planned is None:
            return self._usual(path, headers, request)
        return planned if planned.status != 200 or planned.body is not None else self._after(planned, self._usual(path, headers, request))

    def _after(self, planned: Answer, usual: Answer) -> Answer:
        return Answer(usual.status, usual.body, usual.headers, planned.after)

    def _usual(self, path: str, headers: dict[str, str], request: dict[str, Any]) -> Answer:
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if self.key and given != self.key:
            return failure(401, f"Incorrect API key provided: {given}.", "invalid_api_key")
        if path != "/v1/embeddings":
            return Answer(404, {"detail": "Not Found"})
        if request["model"] != self.model:
            return failure(404, f"The model `{request['model']}` does not exist", "model_not_found")
        texts = request["input"]
        refused = self._refusal(texts, request)
        if refused:
            return refused
        with self.lock:
            if self.inputs + len(texts) > self.quota:
                return failure(429, "You exceeded your current quota, please check your plan and billing details.", "insufficient_quota")
            self.inputs += len(texts)
            self.tokens += sum(map(tokens_of, texts))
        answer = Answer(200, self._embeddings(texts, request))
        return self.change(answer) if self.change else answer

    def _refusal(self, texts: list[str], request: dict[str, Any]) -> Answer | None:
        tokens = [tokens_of(text) for text in texts]
        wrong = {
            f"array too long, at most {self.most_inputs}": len(texts) > self.most_inputs,
            "input cannot be an empty string": not all(texts),
            f"This model's maximum context length is {self.context} tokens": max(tokens) > self.context,
            f"Requested too many tokens, max {self.most_tokens} tokens per request": sum(tokens) > self.most_tokens,
            "your input cannot be embedded": any(BAD in text for text in texts),
        }
        if self.fixed_dimension and "dimensions" in request:
            return failure(400, "this model does not support specifying dimensions", param="dimensions")
        return next((failure(400, words, param="input") for words, holds in wrong.items() if holds), None)

    def _embeddings(self, texts: list[str], request: dict[str, Any]) -> dict[str, Any]:
        told = request.get("encoding_format") == "base64" and not self.only_floats
        data = [
            {"object": "embedding", "index": place, "embedding": _written(text, request.get("dimensions", self.dimension), told)}
            for place, text in enumerate(texts)
        ]
        tokens = sum(map(tokens_of, texts))
        return {"object": "list", "data": data, "model": self.model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def tokens_of(text: str) -> int:
    """Tokens as this server counts them: words, and signs that are no part of one; so never more than bytes."""
    return len(re.findall(r"\w+|[^\w\s]", text))


def _written(text: str, dimension: int, as_base64: bool) -> str | list[float | None]:
    numbers = vector_of(text, dimension)
    if as_base64:
        if LOST in text:
            numbers = np.full(dimension, np.nan)
        return base64.b64encode(struct.pack(f"<{dimension}f", *numbers)).decode()
    return [None if LOST in text else float(number) for number in numbers]


def _handler(server: EmbeddingServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            with server.lock:
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
            answer = server.answer(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            time.sleep(answer.after)
            with server.lock:
                server.at_once -= 1
            if answer.status == 0:
                self.close_connection = True
                return
            raw = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response_only(answer.status)
            for name, value in {"content-type": "application/json", **answer.headers, "content-length": str(len(raw))}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(raw)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # whoever asked has given up

        def log_message(self, *words: Any) -> None:
            pass

    return Handler


@contextmanager
def embedding_server(key: str = "") -> Iterator[EmbeddingServer]:
    """A server for the length of a block."""
    server = EmbeddingServer(key)
    try:
        yield server
    finally:
        server.stop()

"""A real HTTP server that speaks the protocol of OpenAI's chat, and says what a test wants it to say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from embedding_server import Answer, EmbeddingServer, failure


class ChatServer(EmbeddingServer):
    """As `EmbeddingServer` in its limits and failures; `says` is what it answers."""

    model = "tiny-chat"
    says: str | None = "A dog barks [1]."
    finish = "stop"

    def _usual(self, path: str, headers: dict[str, str], request: dict[str, Any]) -> Answer:
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if self.key and given != self.key:
            return failure(401, f"Incorrect API key provided: {given}.", "invalid_api_key")
        if path != "/v1/chat/completions":
            return Answer(404, {"detail": "Not Found"})
        if request["model"] != self.model:
            return failure(404, f"The model `{request['model']}` does not exist", "model_not_found")
        message = {"role": "assistant", "content": self.says}
        choice = {"index": 0, "message": message, "finish_reason": self.finish}
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        body = {"id": "1", "object": "chat.completion", "created": 1, "model": self.model, "choices": [choice], "usage": usage}
        answer = Answer(200, body)
        return self.change(answer) if self.change else answer

    @property
    def asked(self) -> str:
        """The last question with its sources."""
        return str(self.requests[-1]["messages"][-1]["content"])

    @property
    def rules(self) -> str:
        """The last system prompt."""
        return str(self.requests[-1]["messages"][0]["content"])


@contextmanager
def chat_server(key: str = "") -> Iterator[ChatServer]:
    """A server for the length of a block."""
    server = ChatServer(key)
    try:
        yield server
    finally:
        server.stop()

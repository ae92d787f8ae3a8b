"""A tiny model on a server of this process, for tests that walk over all encoders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from embedding_server import EmbeddingServer

_servers: list[EmbeddingServer] = []  # they end with the process


def openai(folder: Path) -> dict[str, Any]:
    """A server on loopback, whose vectors depend on the text alone."""
    del folder
    if not _servers:
        _servers.append(EmbeddingServer())
    return {"model": EmbeddingServer.model, "dimension": EmbeddingServer.dimension, "url": _servers[0].url}


TINY: dict[str, Callable[[Path], dict[str, Any]]] = {"openai": openai}

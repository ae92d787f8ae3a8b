"""Prompts: words that an encoder was trained to read before a query and before a document, such as E5's "query: " and "passage: "."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from encoders.errors import EncoderError
from encoders.spec import Spec
from encoders.weights import read_json

Role = Literal["query", "document"]

# What checkpoints call the two, in the order in which sentence-transformers looks for them.
_NAMES: dict[Role, tuple[str, ...]] = {"query": ("query",), "document": ("document", "passage", "corpus")}


def prompt_of(spec: Spec, role: Role) -> str:
    """The words before a query or a document, from `spec.preprocessing["prompts"]` {"query", "document"}; "" where there are none."""
    prompts: dict[str, str] = spec.preprocessing.get("prompts", {})
    return prompts.get(role, "")


def prompts(folder: Path, query: str = "", document: str = "", stored: bool = True) -> dict[str, str]:
    """Both prompts of a checkpoint.

    Parameters
    ----------
    query, document : the words themselves, blanks and line ends included; "" for those stored by sentence-transformers.
    stored : False leaves those out.

    Returns
    -------
    {"query", "document"}, or {} where both are empty.
    """
    given: dict[Role, str] = {"query": query, "document": document}
    found: dict[str, str] = {role: words or (_stored(folder, role) if stored else "") for role, words in given.items()}
    return found if any(found.values()) else {}


def _stored(folder: Path, role: Role) -> str:
    """As `SentenceTransformer.encode_query` and `encode_document` choose them from config_sentence_transformers.json.

    Its "default_prompt_name" is what `encode` uses for any text, and counts where there is none for the role.
    """
    settings = read_json(folder, "config_sentence_transformers.json")
    held = settings.get("prompts") or {}
    name = next((name for name in (*_NAMES[role], settings.get("default_prompt_name")) if name in held), None)
    words = held[name] if name else ""
    if not isinstance(words, str):
        raise EncoderError(f"{folder / 'config_sentence_transformers.json'} has {words!r} as prompt {name!r}; a prompt is a text")
    return words

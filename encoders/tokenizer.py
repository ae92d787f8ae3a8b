"""A checkpoint's tokenizer, and its settings as plain parameters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.errors import EncoderError
from encoders.pretrained import setting
from encoders.weights import read_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# These number positions from the padding token's id on, so they read fewer tokens than they have positions.
_POSITIONS_AFTER_PADDING = frozenset({"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet"})


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a checkpoint's tokenizer.json, which neither cuts nor pads."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise EncoderError(
            f"{folder} has no tokenizer.json; transformers writes one from older files: AutoTokenizer.from_pretrained(…).save_pretrained(…)"
        )
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def chunking(room: int, chunk: int, overlap: int) -> dict[str, int]:
    """How long texts are cut.

    Parameters
    ----------
    room : tokens that the model reads beside its special tokens.
    chunk : tokens in a chunk, at most and by default (0) all the room.
    overlap : tokens that a chunk repeats of the one before; by default (-1) an eighth of the chunk.
    """
    size = chunk or room
    repeated = size // 8 if overlap < 0 else overlap
    if not 0 < size <= room or repeated >= size:
        raise EncoderError(f"chunk {chunk} with overlap {overlap} does not fit: at most {room} tokens, and the overlap below the chunk")
    return {"size": size, "overlap": repeated}


def text_preprocessing(folder: Path, longest: int, chunk: int = 0, overlap: int = -1, pad_to: str = "longest") -> dict[str, Any]:
    """Parameters between a text and the model's tokens.

    Parameters
    ----------
    longest : tokens that the model has positions for.
    chunk, overlap : as `chunking` says.
    pad_to : "longest" pads a batch to its longest text and masks the rest, "context" pads to the context and masks nothing.

    Returns
    -------
    {"context": tokens read at once, special ones included, "chunk": {"size", "overlap"}, "pad": {"id", "to"}}
    """
    tokenizer = read_tokenizer(folder)
    context = _context(folder, longest)
    room = context - tokenizer.num_special_tokens_to_add(False)
    return {"context": context, "chunk": chunking(room, chunk, overlap), "pad": {"id": _pad_id(folder, tokenizer), "to": pad_to}}


def _context(folder: Path, longest: int) -> int:
    """Tokens that the model reads at once: the least of what its positions, its tokenizer and sentence-transformers allow."""
    limits = [
        longest,
        read_json(folder, "tokenizer_config.json").get("model_max_length"),
        read_json(folder, "sentence_bert_config.json").get("max_seq_length"),
    ]
    return min(int(limit) for limit in limits if limit)


def positions(folder: Path) -> int:
    """Tokens that a BERT-like model has positions for."""
    numbered = int(setting(folder, "max_position_embeddings"))
    if setting(folder, "model_type") in _POSITIONS_AFTER_PADDING:
        return numbered - int(setting(folder, "pad_token_id")) - 1
    return numbered


def _pad_id(folder: Path, tokenizer: Tokenizer) -> int:
    token = read_json(folder, "tokenizer_config.json").get("pad_token")
    name = token.get("content") if isinstance(token, dict) else token
    found = tokenizer.token_to_id(name) if name else None
    return 0 if found is None else int(found)

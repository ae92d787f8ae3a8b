"""A checkpoint's tokenizer, and its settings as plain parameters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.context import room
from encoders.errors import EncoderError
from encoders.pretrained import setting
from encoders.weights import read_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# These number positions from the padding token's id on, so they read fewer tokens than they have positions.
_POSITIONS_AFTER_PADDING = frozenset(
    {
        *("roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet"),
        *("data2vec-text", "ibert", "xmod", "longformer", "luke"),
    }
)
# These know how far apart two tokens are, whatever their number.
_WITHOUT_POSITIONS = frozenset({"t5", "mt5", "umt5", "longt5"})

# Tokenizers without a limit store 10 ** 30 as theirs.
_UNLIMITED = 10**9

# Models with a longer context read chunks of this length by default: one vector of a whole book finds nothing in it, and the time of
# attention grows with the square.
LONGEST_CHUNK = 2048


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a checkpoint's tokenizer.json, which neither cuts nor pads.

    Settings beside it are obeyed: "do_lower_case" in sentence_bert_config.json, and "add_bos_token" and "add_eos_token" in
    tokenizer_config.json where they ask for a token that tokenizer.json does not add. So did transformers 4; 5 takes tokenizer.json as is,
    and for intfloat/e5-mistral-7b-instruct loses the token that is pooled (https://github.com/embeddings-benchmark/mteb/pull/5237).
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise EncoderError(
            f"{folder} has no tokenizer.json; transformers writes one from older files: AutoTokenizer.from_pretrained(…).save_pretrained(…)"
        )
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    _add_ends(folder, tokenizer)
    if read_json(folder, "sentence_bert_config.json").get("do_lower_case") or _trained_on_lower_case(folder):
        _lower(tokenizer)
    return tokenizer


def _trained_on_lower_case(folder: Path) -> bool:
    """Whether this is SigLIP 2, which was trained on lower case while its checkpoints carry Gemma's tokenizer, which knows nothing of it.

    https://arxiv.org/abs/2502.14786, section 2. transformers puts it right for the model type siglip2, and not for the checkpoints of
    fixed size, whose model type is siglip (https://github.com/huggingface/transformers/pull/43101).
    """
    kind = read_json(folder, "config.json").get("model_type")
    tokenizer = str(read_json(folder, "tokenizer_config.json").get("tokenizer_class", ""))
    return kind == "siglip2" or (kind == "siglip" and tokenizer.startswith(("Gemma", "Siglip2")))


def _add_ends(folder: Path, tokenizer: Tokenizer) -> None:
    from tokenizers import processors

    settings = read_json(folder, "tokenizer_config.json")
    present = tokenizer.encode("").ids
    ends = {end: _token(settings, f"{end}_token") for end in ("bos", "eos")}
    ids = {end: tokenizer.token_to_id(token) for end, token in ends.items() if token}
    missing = [end for end, number in ids.items() if settings.get(f"add_{end}_token") and number not in (None, *present)]
    if not missing:
        return
    wanted = [end for end in ("bos", "eos") if end in missing or ids.get(end) in present]
    template = [f"{ends['bos']}:0"] * ("bos" in wanted) + ["$A:0"] + [f"{ends['eos']}:0"] * ("eos" in wanted)
    tokenizer.post_processor = processors.TemplateProcessing(template, special_tokens=[(ends[end], ids[end]) for end in wanted])


def _lower(tokenizer: Tokenizer) -> None:
    from tokenizers import normalizers

    steps = [tokenizer.normalizer] if tokenizer.normalizer else []
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *steps])


def chunking(room: int, chunk: int, overlap: int) -> dict[str, int]:
    """How long texts are cut.

    Parameters
    ----------
    room : tokens that the model reads beside its special tokens.
    chunk : tokens in a chunk, at most all the room; by default (0) all of it, or 2048 where that is less.
    overlap : tokens that a chunk repeats of the one before; by default (-1) an eighth of the chunk.
    """
    size = chunk or min(room, LONGEST_CHUNK)
    repeated = size // 8 if overlap < 0 else overlap
    if not 0 < size <= room or 2 * repeated >= max(size, 1):
        raise EncoderError(
            f"chunk {chunk} with overlap {overlap} does not fit: at most {room} tokens, and the overlap below half the chunk"
        )
    return {"size": size, "overlap": repeated}


def text_preprocessing(
    folder: Path,
    longest: int,
    chunk: int = 0,
    overlap: int = -1,
    pad_to: str = "longest",
    prompts: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Parameters between a text and the model's tokens.

    Parameters
    ----------
    longest : tokens that the model reads at most; 0 where it has no limit of its own.
    chunk, overlap : as `chunking` says.
    pad_to : "longest" pads a batch to its longest text and masks the rest, "context" pads to the context and masks nothing.
    prompts : as `encoders.prompts.prompts` gives them.

    Returns
    -------
    {"context": tokens read at once, special ones and the prompt included, "chunk": {"size", "overlap"}, "pad": {"id", "to"}}, and "prompts"
    where there are any.
    """
    tokenizer = read_tokenizer(folder)
    context = _context(folder, longest)
    before = dict(prompts or {})
    if before.get("query") and (left := room(tokenizer, context, before["query"])) < 1:
        raise EncoderError(f"the prompt of a query leaves no room for it ({left} of {context} tokens); shorten {before['query'][:40]!r}")
    cut = chunking(room(tokenizer, context, before.get("document", "")), chunk, overlap)
    how: dict[str, Any] = {"context": context, "chunk": cut, "pad": {"id": _pad_id(folder, tokenizer), "to": pad_to}}
    return {**how, "prompts": before} if before else how


def _context(folder: Path, longest: int) -> int:
    """Tokens that the model reads at once: the least of what its positions, its tokenizer and sentence-transformers allow."""
    limits = [
        longest,
        read_json(folder, "tokenizer_config.json").get("model_max_length"),
        read_json(folder, "sentence_bert_config.json").get("max_seq_length"),
    ]
    known = [int(limit) for limit in limits if limit and limit < _UNLIMITED]
    if not known:
        raise EncoderError(f"nothing in {folder} says how many tokens are read at once; say it: context = 512")
    return min(known)


def positions(folder: Path) -> int:
    """Tokens that a BERT-like model has positions for, or was trained on where it turns them (RoPE); 0 where nothing limits them."""
    if setting(folder, "model_type") in _WITHOUT_POSITIONS:
        return 0
    numbered = int(setting(folder, "max_position_embeddings"))
    if setting(folder, "model_type") in _POSITIONS_AFTER_PADDING:
        return numbered - int(setting(folder, "pad_token_id")) - 1
    return numbered


def _pad_id(folder: Path, tokenizer: Tokenizer) -> int:
    name = _token(read_json(folder, "tokenizer_config.json"), "pad_token")
    found = tokenizer.token_to_id(name) if name else None
    return 0 if found is None else int(found)


def _token(settings: Mapping[str, Any], name: str) -> str:
    """A special token of tokenizer_config.json, where it stands by itself or with its properties; "" for none."""
    token = settings.get(name)
    return str(token.get("content", "") if isinstance(token, dict) else token or "")

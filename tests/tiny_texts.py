"""Tiny checkpoints of text encoders as sentence-transformers saves them: every architecture, with a tokenizer of its own kind.

Their registry name, bert, stands in tiny_checkpoints.py already; what is here is told apart by architecture.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import tiny_checkpoints
import torch
import transformers as hf
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TINY: dict[str, Callable[[Path], dict[str, Any]]] = {}

SMALL, WIDE = tiny_checkpoints.SMALL, tiny_checkpoints.WIDE
DECODER = {**SMALL, "num_key_value_heads": 1, "head_dim": 16, "vocab_size": 400}
CORPUS = [
    "The bank of the river is green; the bank account is empty. What is a mel spectrogram?",
    "A small red bird sings in the rain, search result, query: passage: title: none | text: Instruct: Given a web search query",
    "一只红色的小鸟在雨中唱歌，河岸是绿色的。 Größe, café, naïve, straße, 42 000",
]


def texts() -> list[str]:
    """Ten of different lengths."""
    return [
        *("a", "the bank of the river", "The BANK account is empty", "一只红色的小鸟在雨中唱歌", "Größe 42", "rain, rain, rain"),
        *("what is a mel spectrogram?", "two  spaces", "🙂 smile", "a small red bird " * 4 + "sings"),
    ]


def checkpoint(
    folder: Path,
    architecture: str,
    pooling: str = "mean",
    dense: Sequence[tuple[int, torch.nn.Module]] = (),
    prompts: dict[str, str] | None = None,
    **transformer: Any,
) -> Path:
    """A checkpoint of one of `ARCHITECTURES`; `dense` are widths and activations after the pooling."""
    model, config, tokenizer = ARCHITECTURES[architecture]
    torch.manual_seed(1)
    (folder / "model").mkdir(parents=True)
    model(config()).eval().save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    width = 32
    modules = [Transformer(str(folder / "model"), **transformer), Pooling(width, pooling)]
    for wider, activation in dense:
        modules.append(Dense(width, wider, bias=bool(wider % 2), activation_function=activation))
        width = wider
    SentenceTransformer(modules=[*modules, Normalize()], prompts=prompts, device="cpu").save(str(folder / "saved"), create_model_card=False)
    return folder / "saved"


def as_older_releases_wrote_it(folder: Path) -> Path:
    """The same checkpoint in the names that older releases of sentence-transformers used, as most checkpoints on the hub have them."""
    modules = json.loads((folder / "modules.json").read_text())
    names = [{**module, "type": "sentence_transformers.models." + module["type"].rpartition(".")[2]} for module in modules]
    (folder / "modules.json").write_text(json.dumps(names))
    pooling = json.loads((folder / "1_Pooling/config.json").read_text())
    stored = {"cls": "cls_token", "mean": "mean_tokens", "lasttoken": "lasttoken"}[pooling["pooling_mode"]]
    modes = {f"pooling_mode_{mode}": mode == stored for mode in ("cls_token", "mean_tokens", "max_tokens", "lasttoken")}
    (folder / "1_Pooling/config.json").write_text(json.dumps({"word_embedding_dimension": 32, **modes}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 40, "do_lower_case": False}))
    return folder


def word_pieces(normalizer: normalizers.Normalizer | None = None) -> hf.PreTrainedTokenizerFast:
    """As BERT's, cased unless a normalizer says otherwise."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizer or normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=specials, show_progress=False))
    return _fast(tokenizer, "[CLS] $A [SEP]", pad="[PAD]", context=40)


def byte_pairs(template: str, specials: Sequence[str], pad: str, context: int = 60, **more: Any) -> hf.PreTrainedTokenizerFast:
    """As those of RoBERTa, ModernBERT and Qwen: no text is unknown, and a word after another begins with its blank."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=380, special_tokens=list(specials), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return _fast(tokenizer, template, pad, context, **more)


def unigrams(template: str, specials: Sequence[str], pad: str) -> hf.PreTrainedTokenizerFast:
    """As those of SentencePiece (XLM-R, T5, Gemma): blanks are marks, and one stands before the first word."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=250, special_tokens=list(specials), unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return _fast(tokenizer, template, pad, context=100)


def _fast(tokenizer: Tokenizer, template: str, pad: str, context: int, **more: Any) -> hf.PreTrainedTokenizerFast:
    ends = [(token, tokenizer.token_to_id(token)) for token in template.split() if token != "$A"]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=ends)
    return hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad, model_max_length=context, **more)


_ROBERTA = ("<s>", "<pad>", "</s>", "<unk>")
_roberta_bytes = partial(byte_pairs, "<s> $A </s>", _ROBERTA, "<pad>")
_xlm_unigrams = partial(unigrams, "<s> $A </s>", _ROBERTA, "<pad>")
_LARGER = {**SMALL, **WIDE, "vocab_size": 400}

Made = tuple[type[hf.PreTrainedModel], Callable[[], hf.PretrainedConfig], Callable[[], hf.PreTrainedTokenizerFast]]
ARCHITECTURES: dict[str, Made] = {
    "bert": (hf.BertModel, partial(hf.BertConfig, **_LARGER, max_position_embeddings=48), word_pieces),
    "roberta": (hf.RobertaModel, partial(hf.RobertaConfig, **_LARGER, max_position_embeddings=62, pad_token_id=1), _roberta_bytes),
    "xlm-roberta": (
        hf.XLMRobertaModel,
        partial(hf.XLMRobertaConfig, **_LARGER, max_position_embeddings=102, pad_token_id=1),
        _xlm_unigrams,
    ),
    "mpnet": (hf.MPNetModel, partial(hf.MPNetConfig, **_LARGER, max_position_embeddings=62, pad_token_id=1), _roberta_bytes),
    "distilbert": (
        hf.DistilBertModel,
        partial(hf.DistilBertConfig, dim=32, n_layers=2, n_heads=2, hidden_dim=48, vocab_size=400, max_position_embeddings=48, **WIDE),
        word_pieces,
    ),
    "modernbert": (
        hf.ModernBertModel,
        partial(
            hf.ModernBertConfig,
            **{**_LARGER, "num_hidden_layers": 4},
            max_position_embeddings=60,
            local_attention=8,
            initializer_cutoff_factor=8.0,
            pad_token_id=0,
            cls_token_id=1,
            sep_token_id=2,
            bos_token_id=1,
            eos_token_id=2,
        ),
        partial(byte_pairs, "[CLS] $A [SEP]", ("[PAD]", "[CLS]", "[SEP]"), "[PAD]"),
    ),
    "qwen3": (
        hf.Qwen3Model,
        partial(hf.Qwen3Config, **DECODER, **WIDE, max_position_embeddings=4000, bos_token_id=None, eos_token_id=0, pad_token_id=0),
        partial(byte_pairs, "$A <|endoftext|>", ("<|endoftext|>",), "<|endoftext|>", 4000, padding_side="left"),
    ),
    "gemma3": (
        hf.Gemma3TextModel,
        partial(hf.Gemma3TextConfig, **DECODER, **WIDE, use_bidirectional_attention=True, sliding_window=8, max_position_embeddings=100),
        partial(unigrams, "<bos> $A <eos>", ("<pad>", "<eos>", "<bos>", "<unk>"), "<pad>"),
    ),
    "t5": (
        hf.T5EncoderModel,
        partial(hf.T5Config, d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2, vocab_size=400, initializer_factor=4.0),
        partial(unigrams, "$A </s>", ("<pad>", "</s>", "<unk>"), "<pad>"),
    ),
}

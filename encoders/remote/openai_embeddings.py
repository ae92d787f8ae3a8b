"""Texts through a server that speaks the protocol of OpenAI's embeddings: OpenAI itself, vLLM, TEI, Ollama and others."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from encoders.context import refuse_blank, refuse_longer, room
from encoders.errors import EncoderError
from encoders.prompts import prompt_of
from encoders.remote import keys
from encoders.remote.embedding_service import EmbeddingService, RefusedError
from encoders.remote.openai_client import OPENAI, checked_url
from encoders.remote.token_budget import SPECIAL_TOKENS, byte_tokenizer, requests
from encoders.spec import Modality, Spec
from encoders.tokenizer import chunking, read_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Lengths of the vectors of OpenAI's models, as their documentation states them; the first two can be asked for shorter ones.
DIMENSIONS = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}


class OpenAIEmbeddings:
    """A model on a server, by the protocol of OpenAI's embeddings; nothing is loaded here.

    Tokens are counted with the model's own tokenizer.json where there is one. Where there is none, each byte of UTF-8 counts as a token,
    which is never too few: a token of a byte-level vocabulary, as OpenAI's are, stands for one byte or more.

    Parameters
    ----------
    spec : what to compute, and in `service` where.
    device, dtype : not used; the server decides.
    """

    modality: Modality = "text"

    def __init__(self, spec: Spec, device: str = "cpu", dtype: str = "auto") -> None:
        self.spec = spec
        self._service: EmbeddingService | None = None
        self._lock = threading.Lock()

    @classmethod
    def describe(  # noqa: PLR0913 - each is a key of a space's TOML section
        cls,
        weights: str = "",
        revision: str = "",
        *,
        licence: str = "",
        model: str = "",
        dimension: int = 0,
        shorten: bool = False,
        tokenizer: str = "",
        context: int = 8192,
        query_prompt: str = "",
        document_prompt: str = "",
        chunk: int = 0,
        overlap: int = -1,
        url: str = f"https://{OPENAI}/v1",
        key: str = "",
        price: float = 0.0,
        request_tokens: int = 300_000,
        request_inputs: int = 2_048,
        at_once: int = 8,
        timeout: float = 60.0,
        patience: float = 600.0,
        insecure: bool = False,
        proxies: bool = False,
    ) -> Spec:
        """The spec of a model on a server; asks nobody. All up to `overlap` may change vectors, all after it may not.

        Parameters
        ----------
        revision : any text; another one makes another generation, for a server whose model was exchanged under its name.
        model : its name on the server.
        dimension : length of a vector; known for OpenAI's own models.
        shorten : ask the server for vectors of this length. For a known model that is longer it goes without saying.
        tokenizer : folder with the model's tokenizer.json; without one, `context`, `chunk` and `request_tokens` count bytes of UTF-8.
        context : tokens that the model reads at once.
        query_prompt, document_prompt : words before a query and before a document.
        chunk, overlap : as `tokenizer.chunking` says; without a tokenizer a chunk has at most 8,188 bytes by default.
        url : base of the protocol, https. A server on this machine may do without.
        key : name of the environment variable that holds the key, or secret:NAME of a Prefect Secret block. By default OPENAI_API_KEY for
            OpenAI, and none for all others.
        price : of a million tokens, in any currency; told by `embed --plan`.
        request_tokens, request_inputs : most in one request.
        at_once : requests in flight.
        timeout : seconds that one answer may take.
        patience : seconds that a request waits for better times, in all, before the run ends.
        insecure : allow http to another machine.
        proxies : obey HTTPS_PROXY and its like.
        """
        if weights:
            raise EncoderError(f"the weights are on the server: write model = {weights!r} instead, and tokenizer = … for a tokenizer.json")
        tokenizer = str(Path(tokenizer).expanduser().resolve()) if tokenizer else ""
        length, shorten = _length(model, dimension, shorten)
        _check_numbers(context=context, request_tokens=request_tokens, request_inputs=request_inputs, at_once=at_once, timeout=timeout)
        url = checked_url(url, insecure)
        key = key or ("OPENAI_API_KEY" if urlsplit(url).hostname == OPENAI else "")
        keys.check_name(key)
        service = {"url": url, "key": key, "price": float(price), "request_tokens": request_tokens, "request_inputs": request_inputs}
        return Spec(
            encoder="openai",
            modality=cls.modality,
            dimension=length,
            inputs="text",
            weights=tokenizer,
            digest=_digest(tokenizer),
            preprocessing={
                "model": model,
                "revision": revision,
                "shorten": shorten,
                **_preprocessing(tokenizer, context, {"query": query_prompt, "document": document_prompt}, chunk, overlap),
            },
            licence=licence,
            service=service | {"at_once": at_once, "timeout": float(timeout), "patience": float(patience), "proxies": proxies},
        )

    @property
    def lanes(self) -> int:
        """Batches that may be under way at once, whatever the number of cores: they wait for the server, not for a core."""
        return int(self.spec.service["at_once"])

    @property
    def tokens(self) -> int:
        """Tokens that the server has counted so far."""
        return self._service.tokens if self._service else 0

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The model's, or one for which each byte is a token."""
        if not self.spec.weights:
            return byte_tokenizer()
        if _digest(self.spec.weights) != self.spec.digest:
            raise EncoderError(
                f"{self.spec.weights}/tokenizer.json is not that of the spec: bring back the old one, or embed into a new table"
            )
        return read_tokenizer(Path(self.spec.weights))

    def check(self) -> None:
        """EncoderError if the key is not to be had: before any work."""
        keys.check_held(self.spec.service["key"])

    def warm(self) -> None:
        """First contact: a wrong key, model or dimension is told now, for the price of a token."""
        self._contact().embed(["a"])

    def prepare(self, medium: str) -> dict[str, np.ndarray]:
        """A text as it is sent.

        Returns
        -------
        {"utf8": uint8 (length,)}, the text in UTF-8 with the spec's prompt for documents before it.

        Raises
        ------
        ValueError : the text is empty, which the protocol refuses.
        LimitError : the text has more tokens than the model reads.
        """
        return self._prepare(medium, prompt_of(self.spec, "document"))

    def prepare_query(self, medium: str) -> dict[str, np.ndarray]:
        """A query as it is sent, after the spec's prompt for queries; otherwise like `prepare`."""
        return self._prepare(medium, prompt_of(self.spec, "query"))

    def _prepare(self, medium: str, prompt: str) -> dict[str, np.ndarray]:
        refuse_blank(medium)
        refuse_longer(len(self.tokenizer.encode(prompt + medium).ids), self.spec.preprocessing["context"])
        return {"utf8": np.frombuffer((prompt + medium).encode(errors="replace"), np.uint8)}

    def encode(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Vectors of a batch, float32 (n, dimension), each of length one, in as many requests as its tokens need.

        Raises
        ------
        RefusedError : the server does not take one of the texts, or gives no vector for any of them.
        EncoderError : the server will not take others either (key, quota, model), or has not answered for too long.
        """
        rows = inputs["utf8"]
        lengths = inputs.get("lengths", np.full(len(rows), rows.shape[1]))
        texts = [row[:length].tobytes().decode() for row, length in zip(rows, lengths, strict=True)]
        service, how = self._contact(), self.spec.service
        parts = [
            service.embed([texts[row] for row in part])
            for part in requests(self._counts(texts), how["request_tokens"], how["request_inputs"])
        ]
        return _normalised(np.concatenate(parts))

    def _counts(self, texts: Sequence[str]) -> list[int]:
        if not self.spec.weights:
            return [len(text.encode()) + SPECIAL_TOKENS for text in texts]
        return [len(encoding.ids) for encoding in self.tokenizer.encode_batch_fast(list(texts))]

    def _contact(self) -> EmbeddingService:
        with self._lock:
            if self._service is None:
                how, about = self.spec.service, self.spec.preprocessing
                self._service = EmbeddingService(
                    how["url"],
                    about["model"],
                    self.spec.dimension,
                    shorten=about["shorten"],
                    key=keys.value(how["key"]),
                    timeout=how["timeout"],
                    patience=how["patience"],
                    proxies=how["proxies"],
                )
            return self._service


def _normalised(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    usable = np.isfinite(lengths) & (lengths > 0)
    if not usable.any():
        raise RefusedError(f"the server gives vectors of no length or of no numbers for {len(vectors)} texts")
    return np.asarray(vectors / np.where(usable, lengths, 1.0)[:, None], np.float32)


def _length(model: str, dimension: int, shorten: bool) -> tuple[int, bool]:
    if not model:
        raise EncoderError('no model was named; write model = "text-embedding-3-small", or the name that your server knows it by')
    known = DIMENSIONS.get(model, 0)
    if dimension < 0 or not (dimension or known):
        raise EncoderError(f"how long the vectors of {model!r} are is not known here; write dimension = …, as its documentation states it")
    if known and dimension > known:
        raise EncoderError(f"{model} gives vectors of at most {known} numbers, asked were {dimension}")
    return dimension or known, bool(dimension) and (dimension < known if known else shorten)


def _check_numbers(**numbers: float) -> None:
    for name, number in numbers.items():
        if number <= 0:
            raise EncoderError(f"{name} is at least one, got {number}")


def _digest(folder: str) -> str:
    path = Path(folder) / "tokenizer.json"
    if not folder:
        return ""
    if not path.is_file():
        raise EncoderError(f"there is no {path}; give the folder that holds the model's tokenizer.json, or none to count bytes")
    return sha256(path.read_bytes()).hexdigest()


def _preprocessing(folder: str, context: int, prompts: dict[str, str], chunk: int, overlap: int) -> dict[str, Any]:
    """Context, chunk and prompts, as `tokenizer.text_preprocessing` gives them."""
    tokenizer = read_tokenizer(Path(folder)) if folder else byte_tokenizer()
    context -= 0 if folder else SPECIAL_TOKENS
    left = min(room(tokenizer, context, prompt) for prompt in prompts.values())
    if left < 1:
        raise EncoderError(f"the prompts leave no room for a text in {context} tokens; shorten them, or give the model's tokenizer")
    cut = chunking(left, chunk or (0 if folder else left), overlap)
    how = {"context": context, "chunk": cut, "counted": "tokens" if folder else "bytes"}
    return {**how, "prompts": prompts} if any(prompts.values()) else how

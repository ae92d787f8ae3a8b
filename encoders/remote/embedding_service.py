"""One model behind the protocol of OpenAI's embeddings: what is asked, what an answer or a failure means, and when to ask again."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from encoders.errors import EncoderError, MediumError
from encoders.remote.embedding_answer import AnswerError, GarbledError, read_answer
from encoders.remote.openai_client import open_client, passes, problem_of, safe
from encoders.remote.patience import PassingError, Patience, Pause, retry_after

if TYPE_CHECKING:
    from httpx2 import Response

FIRST_CONTACT = 10.0  # a server that never answered is more likely misspelt than busy
SUSPICIOUS = 3  # after so many failures of one request, a harmless one tells whether the server or the texts are to blame
HARMLESS = "a"

_REFUSED = frozenset({400, 413, 422})
_ABOUT_THE_MODEL = frozenset({"model", "dimensions", "encoding_format"})


class RefusedError(MediumError):
    """The server does not take these texts, and takes others."""

    def __init__(self, message: str) -> None:
        super().__init__("refused by the server", message)

    def __reduce__(self) -> tuple[type[RefusedError], tuple[str]]:
        return RefusedError, (self.message,)


class EmbeddingService:
    """A model on a server; several threads may ask at once.

    Failures that may pass (no answer, 408, 409, 424, 429, 5xx) are asked again: after what Retry-After says, else after a growing time with
    jitter. If the same texts fail three times and a harmless one does not, the texts are to blame. What no other text could change (key,
    quota, model, dimension) is final.

    Parameters
    ----------
    url : the protocol's base, such as "https://api.openai.com/v1".
    model : its name on the server.
    dimension : length of a vector.
    shorten : ask the server for vectors of this length, for models whose own are longer.
    key : the key itself, "" for none. It is sent to the server and goes nowhere else.
    timeout : seconds that an answer may take.
    patience : seconds that a request may wait for better times, in all.
    proxies : obey HTTPS_PROXY and its like.
    """

    def __init__(
        self,
        url: str,
        model: str,
        dimension: int,
        *,
        shorten: bool = False,
        key: str = "",
        timeout: float = 60.0,
        patience: float = 600.0,
        proxies: bool = False,
    ) -> None:
        self.url, self.model, self.dimension = url, model, dimension
        self.tokens = 0  # as the server counted them
        self._patience = patience
        self._key = key
        self._shorten = {"dimensions": dimension} if shorten else {}
        self._client = open_client(url, key, timeout, proxies)
        weakref.finalize(self, self._client.close)
        self._pause = Pause()
        self._lock = threading.Lock()
        self._answered = False

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of some texts, float32 (n, dimension), in their order and of any length; NaN where the server gave nothing usable.

        Raises
        ------
        RefusedError : at least one of the texts is at fault; nothing tells which.
        EncoderError : key, quota, model or dimension are wrong, or the patience is over. Whoever else waits for this server stops as well.
        """
        since, wait, patience = self._pause.ended, 0.0, Patience(self._patience)
        while True:
            patience.waited += self._pause.wait(wait, since)
            try:
                return self._ask(texts)
            except RefusedError as problem:
                self._check_answers(problem)
                raise
            except PassingError as problem:
                wait = self._wait(patience, problem)

    def _wait(self, patience: Patience, problem: PassingError) -> float:
        if patience.tries + 1 == SUSPICIOUS and self._answered and not problem.limited and self._answers():
            raise RefusedError(f"{problem}, {SUSPICIOUS} times for these texts and not for others") from None
        if problem.silent and not self._answered:
            patience.seconds = min(patience.seconds, FIRST_CONTACT)
        try:
            wait = patience.next_wait(problem)
        except EncoderError as over:
            raise self._pause.end(over) from None
        if problem.limited:
            self._pause.hold(wait)
        return wait

    def _answers(self) -> bool:
        try:
            self._ask([HARMLESS])
        except (PassingError, RefusedError):
            return False
        return True

    def _check_answers(self, problem: RefusedError) -> None:
        """Where nothing was ever answered, the request is to blame, not its texts, if a harmless text is refused alike."""
        if not self._answered and not self._answers():
            raise self._pause.end(EncoderError(f"{problem.message}, whatever the text; check model, dimension and url")) from None

    def _ask(self, texts: Sequence[str]) -> np.ndarray:
        from httpx2 import ConnectTimeout
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        create = self._client.embeddings.with_raw_response.create
        try:
            answer = create(model=self.model, input=list(texts), encoding_format="base64", **self._shorten)  # type: ignore[arg-type]
            vectors, tokens = read_answer(answer.content, len(texts))
        except APITimeoutError as problem:
            silent = isinstance(problem.__cause__, ConnectTimeout)
            raise PassingError(f"{self.url} did not answer in time", silent=silent) from None
        except APIConnectionError as problem:
            raise PassingError(f"{self.url} cannot be reached ({safe(problem.__cause__ or problem, self._key)})", silent=True) from None
        except APIStatusError as problem:
            raise self._judged(problem.response) from None
        except AnswerError as problem:
            raise RefusedError(f"{self.url} {problem}") from None
        except GarbledError as problem:
            raise PassingError(f"{self.url} {problem}", silent=True) from None
        if vectors.shape[1] != self.dimension:
            told = f"{self.model} of {self.url} gives vectors of {vectors.shape[1]} numbers, the space says {self.dimension}"
            raise self._pause.end(EncoderError(f"{told}: set dimension = {vectors.shape[1]}, or shorten = true for a model that can"))
        with self._lock:
            self.tokens += tokens
        self._answered = True
        return vectors

    def _judged(self, response: Response) -> Exception:
        """What a status that is no success means: RefusedError, PassingError or EncoderError."""
        status, problem = response.status_code, problem_of(response)
        told = f"{self.url} answers {status} for {self.model}: {safe(problem.get('message') or response.reason_phrase, self._key)}"
        if passes(status, problem):
            return PassingError(told, retry_after(response.headers), limited=status == 429)
        if status in _REFUSED and problem.get("param") not in _ABOUT_THE_MODEL:
            return RefusedError(told)
        return self._pause.end(EncoderError(f"{told}{_ADVICE.get(status, '')}"))


_ADVICE = {
    401: "; check the key that the option key names",
    403: "; the key may not use this model: check the option key, and what the account allows",
    404: "; check model and url, which mostly ends in /v1",
    429: "; the account has nothing left: raise its limit and run again, what was committed stays",
}

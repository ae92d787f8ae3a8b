"""A question and what a table knows about it: a known answer, passages with their places, and, if a server writes it, an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from encoders.errors import EncoderError
from retrieval.answers import parts as cutting
from retrieval.answers.captions import Captions, none
from retrieval.answers.faq import LIKE, FaqMatch, KnownQuestions
from retrieval.answers.generation import Writer, Written
from retrieval.answers.originals import Originals
from retrieval.answers.packing import TokenCounter, pack
from retrieval.answers.passages import Passage, passages
from retrieval.errors import QueryError
from retrieval.filters import EVERYTHING, Filter
from retrieval.query import Hit, Searcher
from retrieval.search.moments import HITS
from retrieval.search.search import Manner

PARTS, SMALLEST, LARGEST = 8, 48, 128  # so many parts fill a budget, of at least and at most so many tokens
OTHERS_SHARE = 4  # beside texts, citations of pictures, sounds and videos take at most a fourth of the budget


@dataclass(frozen=True)
class AnswerSettings:
    """How an answer is put together.

    Parameters
    ----------
    budget : most tokens of all passages with their citations.
    hits : chunks of texts that are looked at.
    others : most pictures, sounds and moments of videos, of each; what is seen and what is heard is ranked apart, as their similarities
        to words cannot be compared.
    part : tokens of the parts that passages are cut into, see `retrieval.answers.parts`; by default an eighth of the budget, 48 to 128: a
        small budget holds several only if they are small. 0: of that size, too, but scored by their chunks alone, so that nothing but the
        question is encoded.
    like : cosine similarity from which a known question is taken for the one asked.
    hybrid : find chunks of texts by full text, too (`retrieval.search.hybrid`); which of their parts are taken is still settled by vectors.
    """

    budget: int = 2_000
    hits: int = 20
    others: int = 3
    part: int | None = None
    like: float = LIKE
    hybrid: bool = False

    def __post_init__(self) -> None:
        if self.budget < 1 or self.hits < 1 or self.others < 0 or self.size < 1 or not -1 <= self.like <= 1:
            raise QueryError(
                f"budget and hits are at least 1, others and part at least 0, like between -1 and 1; got budget {self.budget}, "
                f"hits {self.hits}, part {self.part}, others {self.others}, like {self.like}"
            )

    @property
    def size(self) -> int:
        """Tokens of a part."""
        return self.part or min(max(self.budget // PARTS, SMALLEST), LARGEST)


@dataclass(frozen=True)
class Answer:
    """What is known about a question.

    Parameters
    ----------
    faq : the known question that is the same, if there is one; its answer comes first, and no server is asked.
    nearest : the known question that is most like it, whether or not it is like enough.
    written : what a server wrote; None if none was asked.
    failure : why a server that was asked wrote nothing; "" otherwise.
    passages : best first; number n is cited as [n].
    root : what stands before every name in the citations: the source of all objects; "" where they have several, and are cited by URI.
    tokens : of the passages with their citations, counted as `counted_by` says.
    hits : segments that were looked at.
    copies, alike, too_long : objects left out because another has the very same content; parts left out because what they say
        stands in others; parts that did not fit.
    faq_left_out : rows of the known questions that take no part, by reason.
    """

    question: str
    faq: FaqMatch | None
    nearest: FaqMatch | None
    written: Written | None
    failure: str
    passages: tuple[Passage, ...]
    root: str
    tokens: int
    budget: int
    counted_by: str
    hits: int
    copies: int
    alike: int
    too_long: int
    faq_left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """In words: "answered before", what the check of a written answer says, "no answer was written", "passages", "nothing found"."""
        if self.faq is not None:
            return "answered before"
        if self.written is not None:
            return self.written.verdict
        return "no answer was written" if self.failure else ("passages" if self.passages else "nothing found")

    @property
    def good(self) -> bool:
        """Whether it is what was asked for: no server failed, and what one wrote cites its sources or says that it does not know."""
        return not self.failure and (self.written is None or self.written.verdict in ("cited", "does not know"))


def answer(
    searcher: Searcher,
    question: str,
    *,
    keep: Filter = EVERYTHING,
    settings: AnswerSettings | None = None,
    known: KnownQuestions | None = None,
    writer: Writer | None = None,
    captions: Captions = none,
) -> Answer:
    """Answer a question from a table.

    Parameters
    ----------
    known : questions that have been answered before.
    writer : writes the answer from the passages; without one the passages are the answer.
    captions : words for pictures, sounds and videos; they count as the words of a passage.

    Raises
    ------
    QueryError : the question is empty, or the table's space has no encoder of texts.
    """
    settings = settings or AnswerSettings()
    vectors = searcher.embed(question)
    nearest = known.nearest(vectors) if known else None
    faq = nearest if nearest and nearest.score >= settings.like else None
    originals = Originals(searcher)
    chunks = _chunks(originals, question, vectors, keep, settings)
    shown = _others(originals, vectors, keep, settings)
    texts = list(map(originals.told, passages(chunks)))
    others = _captioned(list(map(originals.told, shown)), captions)
    encoder = searcher.queries.encoder("text", "a question")
    counter = TokenCounter.of(encoder)
    beside = pack(others, settings.budget // OTHERS_SHARE if texts else settings.budget, counter)
    pieces = cutting.parts(encoder, texts, chunks, vectors, settings.size, 0.0 if settings.part == 0 else cutting.OWN)
    packed = pack(pieces, settings.budget, counter, first=beside.passages)
    written, failure = _written(writer, question, packed.passages) if writer and faq is None else (None, "")
    return Answer(
        question=question,
        faq=faq,
        nearest=nearest,
        written=written,
        failure=failure,
        passages=packed.passages,
        root=originals.root,
        tokens=packed.tokens,
        budget=settings.budget,
        counted_by=counter.name,
        hits=originals.hits,
        copies=sum(map(len, originals.copies.values())),
        alike=beside.alike + packed.alike,
        too_long=beside.too_long + packed.too_long,
        faq_left_out=known.left_out if known else {},
    )


def _chunks(originals: Originals, question: str, vectors: np.ndarray, keep: Filter, settings: AnswerSettings) -> list[Hit]:
    """The nearest chunks of texts."""
    if keep.modality not in (None, "text"):
        return []
    manner = Manner(settings.hits, words=question if settings.hybrid else "")
    return originals.nearest(vectors, replace(keep, modality="text"), manner)


def _others(originals: Originals, vectors: np.ndarray, keep: Filter, settings: AnswerSettings) -> list[Passage]:
    """The best few passages of each other modality."""
    found: list[Passage] = []
    for modality in originals.searcher.space.encoders:
        if settings.others and modality != "text" and keep.modality in (None, modality):
            hits = originals.nearest(vectors, replace(keep, modality=modality), Manner(settings.others * HITS))
            found += passages(hits)[: settings.others]
    return found


def _captioned(found: list[Passage], captions: Captions) -> list[Passage]:
    told = captions({passage.uri for passage in found})
    return [replace(passage, text=told.get(passage.uri)) for passage in found]


def _written(writer: Writer, question: str, found: tuple[Passage, ...]) -> tuple[Written | None, str]:
    try:
        return writer.write(question, found), ""
    except EncoderError as problem:
        return None, str(problem)

"""The nearest segments of a table, each content once: copies of an object under other names take no places."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from retrieval.answers.passages import Passage
from retrieval.filters import Filter
from retrieval.query import Hit, Searcher
from retrieval.search.search import Manner, answers
from storage.faults import told
from storage.replace import scan
from storage.table import literal

ROUNDS = 5
"""Times that the table is asked anew without the copies that were found; what then still comes twice is left out unreplaced."""


class Originals:
    """Asks a table, and remembers which objects were left out as copies, by the URI of the one that stays.

    Which one stays is settled by the first hit; `hits` counts all that were returned.
    """

    def __init__(self, searcher: Searcher) -> None:
        self.searcher = searcher
        self.copies: dict[str, list[str]] = {}
        self.hits = 0
        self._contents: dict[str, str] = {}
        self._sources: set[str] = set()
        self._first: dict[str, str] = {}

    def nearest(self, vectors: np.ndarray, keep: Filter, manner: Manner) -> list[Hit]:
        """As `retrieval.search.search.answers`, of objects with contents of their own."""
        for _ in range(ROUNDS):
            hits = answers(self.searcher, vectors, keep, manner)
            if not (copies := self._sorted_out(hits)):
                break
            keep = keep.excluding(copies)
        kept = [hit for hit in hits if self._first[self._contents[hit.uri]] == hit.uri]
        self.hits += len(kept)
        return kept

    @property
    def root(self) -> str:
        """The source that all objects found so far are from, with a slash at its end; "" if there are several."""
        return f"{next(iter(self._sources)).removesuffix('/')}/" if len(self._sources) == 1 else ""

    def told(self, passage: Passage) -> Passage:
        """A passage with its object's content and the copies of that, named as seen from the one source of all, if there is one."""
        copies = tuple(self.copies.get(passage.uri, ()))
        return replace(passage, name=passage.uri.removeprefix(self.root), content_hash=self._contents[passage.uri], copies=copies)

    def _sorted_out(self, hits: Iterable[Hit]) -> set[str]:
        """Those among the hits' objects that are copies of others."""
        uris = dict.fromkeys(hit.uri for hit in hits)
        self._read(uris)
        found = set()
        for uri in uris:
            first = self._first.setdefault(self._contents[uri], uri)
            if first != uri:
                found.add(uri)
                if uri not in (named := self.copies.setdefault(first, [])):
                    named.append(uri)
        return found

    def _read(self, uris: Iterable[str]) -> None:
        if not (new := [uri for uri in uris if uri not in self._contents]):
            return
        table = self.searcher.table
        condition = f"segment = 0 AND uri IN ({', '.join(map(literal, new))})"
        with told(f"reading table {table.name!r}"):
            rows = scan(table.to_lance(), ["uri", "content_hash", "source"], condition).to_table().to_pylist()
        self._contents |= {row["uri"]: row["content_hash"] for row in rows}
        self._sources |= {row["source"] for row in rows}

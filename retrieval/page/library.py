"""What the page asks: one table, opened beside the server that is listening already, and the sources of its objects."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from retrieval.page import items
from retrieval.page.items import Item
from retrieval.page.kept import Kept

if TYPE_CHECKING:
    import numpy as np

    from encoders.spec import Space
    from retrieval.query import Searcher
    from retrieval.query_encoder import Chosen, QueryEncoder
    from storage.objects import Source

FRESH = 5.0  # seconds for which a look at what is published holds
ITEMS = 50_000  # objects whose facts are kept at hand
ASKED = 64  # questions whose vectors are kept at hand: another filter, the same question


class Library:
    """A published table; it follows what later runs publish. All methods may be called from many threads.

    Parameters
    ----------
    database, name : where the table is.
    space : the space to ask with, if its weights have moved: called when the table is opened, since it loads much.
    source : where the objects lie now, if they have moved since they were embedded; "" where they were.
    """

    def __init__(self, database: str, name: str = "media", space: Callable[[], Space] | None = None, source: str = "") -> None:
        self.database, self.name = database, name
        self._space, self._moved = space, source
        self._ready = threading.Event()
        self._problem: Exception | None = None
        self._lock, self._asking = threading.Lock(), threading.Lock()
        self._held: Searcher | None = None
        self._looked = 0.0
        self._sources: dict[str, Source] = {}
        self._items: Kept[str, Item] = Kept(ITEMS)
        self._vectors: Kept[str, tuple[np.ndarray, int]] = Kept(ASKED)

    def open(self) -> None:
        """Open the table: seconds, most of them for LanceDB's and the encoders' own modules. Raises as `Searcher` does."""
        try:
            held = self._opened()
            if self._moved:
                self._source(self._moved).check()
        except Exception as problem:
            self._problem = problem
            raise
        else:
            self._held, self._looked = held, time.monotonic()
        finally:
            self._ready.set()

    def warm(self) -> None:
        """Load the encoder of words before the first question; a space that cannot do so says so when it is asked."""
        from encoders.errors import EncoderError
        from retrieval.errors import QueryError

        with contextlib.suppress(QueryError, EncoderError), self._asking:
            self.searcher.embed("a")

    @property
    def is_open(self) -> bool:
        """Whether `searcher` answers at once."""
        return self._ready.is_set()

    @property
    def searcher(self) -> Searcher:
        """The table at the version that is published now; waits until it is open."""
        self._ready.wait()
        if self._problem is not None:
            raise self._problem
        with self._lock:
            if time.monotonic() - self._looked > FRESH:
                self._follow()
            if self._held is None:
                raise RuntimeError("the table was not opened")
            return self._held

    def item(self, uri: str) -> Item | None:
        """What the table holds of one object; None if it holds none."""
        return self.items([uri]).get(uri)

    def items(self, uris: Iterable[str]) -> dict[str, Item]:
        """What the table holds of some objects; those it does not hold are left out."""
        wanted = list(uris)
        table = self.searcher.table
        found = {uri: item for uri in wanted if (item := self._items.get(uri)) is not None}
        for item in items.read(table, (uri for uri in wanted if uri not in found)):
            self._items.put(item.uri, item)
            found[item.uri] = item
        return found

    def vectors(self, searcher: Searcher, key: str, choose: Callable[[QueryEncoder], Chosen]) -> tuple[np.ndarray, int]:
        """The vectors of a question, float32 (parts, dimension), and of how many parts these are; the same `key` is embedded once.

        Encoders work for one question at a time, and wait for no other one to be decoded and cut.
        """
        key = f"{searcher.space.generation} {key}"
        if (known := self._vectors.get(key)) is not None:
            return known
        chosen = choose(searcher.queries)
        with self._asking:
            vectors = searcher.queries.encode(chosen)
        self._vectors.put(key, (vectors, chosen.of))
        return vectors, chosen.of

    def place(self, item: Item) -> tuple[Source, str]:
        """Where an object's bytes are now, once it is seen to be the one that was embedded.

        Raises
        ------
        ObjectError : reason "vanished", "changed", "denied", …
        """
        from storage.errors import ObjectError

        source = self._source(self._moved or item.source)
        if not item.uri.startswith(f"{item.source}/"):
            raise ObjectError("vanished", f"{item.uri} does not lie in its source {item.source}")
        uri = f"{source.root}{item.uri[len(item.source) :]}"
        etag = None if self._moved else item.etag  # a copy has a time and a number of its own
        if not source.look(uri).is_as(item.size, etag):
            raise ObjectError("changed", f"{uri} has changed since it was embedded; run `sensorium embed` again to see it as it is now")
        return source, uri

    def _opened(self) -> Searcher:
        from retrieval.query import Searcher

        return Searcher(self.database, self.name, self._space() if self._space else None)

    def _follow(self) -> None:
        """Turn to the version that is published now, if it is another."""
        from storage import table as tables

        self._looked = time.monotonic()
        table = tables.open_table(tables.connect(self.database), self.name)
        live = None if table is None else tables.published_version(table)
        if self._held is None or live is None or live == self._held.table.version:
            return
        before, self._held = self._held, self._opened()
        if before.space.generation == self._held.space.generation:
            self._held.queries = before.queries  # its encoders are built
        else:
            self._vectors.clear()
        self._items.clear()

    def _source(self, root: str) -> Source:
        from storage.objects import open_source

        with self._lock:
            if root not in self._sources:
                self._sources[root] = open_source(root)
            return self._sources[root]

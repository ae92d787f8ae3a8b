"""The vectors of what pairs name: embedded once, by the pipeline, each modality into a table of its own, and read one side at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from lancedb.table import Table

from encoders.align.frozen import FrozenVectors
from encoders.spec import Modality, Space, Spec
from flows.bucket_run import BucketRun
from flows.embed_opening import open_run
from flows.settings import AlignSettings, EmbedSettings, TableSettings
from storage import quarantine, table
from storage.listed import ListedSource
from storage.objects import Source, list_source, open_source
from tasks.pairs import Pairs, PairsError, text_content
from tasks.split import Side, Split
from tasks.train import read_side, read_vectors

_CAPTIONS = TableSettings(text="text", id="id")


@dataclass
class PairVectors:
    """Tables of vectors beside the new space, and what they are made from.

    Parameters
    ----------
    folder : of the new space; the database is folder/vectors.
    specs : encoders by modality.
    source : of the media.
    """

    settings: AlignSettings
    folder: Path
    specs: dict[Modality, Spec]
    pairs: Pairs
    source: Source
    _listing: pl.DataFrame | None = field(default=None, repr=False)

    @property
    def database(self) -> str:
        """Where the tables are, each called as its modality."""
        return str(self.folder / "vectors")

    def bucket_run(self, modality: Modality) -> BucketRun:
        """The run that embeds what the pairs name in one modality, and nothing else, into the table of that modality."""
        common = {name: getattr(self.settings, name) for name in ("workers", "device", "dtype", "scratch", "limits")}
        source, more = (self._captions(), {"tables": _CAPTIONS}) if modality == "text" else (self._named(modality), {})
        settings = EmbedSettings(
            source=source.root,
            database=self.database,
            table=modality,
            space=self.settings.space,
            floor=0.0,
            batch=self.settings.encode_batch,
            # Captions that are pairs no longer were ours to write; media are the bucket's, whose listing may be at fault.
            allow_deletions=self.settings.allow_deletions or modality == "text",
            **common,
            **more,
        )
        return open_run(settings, space=Space(modality, {modality: self.specs[modality]}), source=source)

    def held(self, modality: Modality) -> pl.DataFrame:
        """uri and content_hash of the objects that were embedded and are still there."""
        root = (open_source(str(self.folder / "captions")) if modality == "text" else self.source).root
        return table.present(self._table(modality), root)

    def side(self, parts: Split, side: Side, most: int = 0) -> FrozenVectors:
        """Vectors of one side, and of no other."""
        return read_side(parts.side(side), {m: self._table(m) for m in self.pairs.modalities}, most)

    def vectors_of(self, modality: Modality, contents: Sequence[str]) -> np.ndarray:
        """Vectors of some contents, (contents, d)."""
        return read_vectors(self._table(modality), modality, contents)

    def reasons(self, modality: Modality, held: pl.DataFrame) -> dict[str, int]:
        """How many different objects were named, embedded, and left out for which reason."""
        named = pl.DataFrame({"uri": self.pairs.uris(modality)}, schema={"uri": pl.String})
        if modality == "text":
            embedded = set(held.get_column("content_hash"))
            good = sum(text_content(text) in embedded for text in named.get_column("uri"))
            failed = quarantine.load(table.connect(self.database), modality)
            return {"named": named.height, "embedded": good, **quarantine.by_reason(failed)}
        left = named.join(held, on="uri", how="anti")
        failed = quarantine.load(table.connect(self.database), modality, self.source.root).join(left, on="uri", how="semi")
        reasons: Counter[str] = Counter(quarantine.by_reason(failed))
        listed = set(self.listed().get_column("uri"))
        for uri in left.join(failed, on="uri", how="anti").get_column("uri"):
            outside = not uri.startswith(self.source.root + "/")
            reasons["outside the source" if outside else "of no readable type" if uri in listed else "missing"] += 1
        return {"named": named.height, "embedded": named.height - left.height, **reasons}

    def _captions(self) -> Source:
        """The texts of the pairs as a table file of their own, named by content; the same texts are the same bytes."""
        folder = self.folder / "captions"
        folder.mkdir(parents=True, exist_ok=True)
        texts = self.pairs.uris("text")
        ids = [text_content(text) for text in texts]
        beside = folder / ".captions.new"
        pl.DataFrame({"id": ids, "text": texts}).sort("id").write_parquet(beside)
        path = folder / "captions.parquet"
        if path.exists() and path.read_bytes() == beside.read_bytes():
            beside.unlink()  # the file that is there keeps its time, and is not read again
        else:
            beside.replace(path)
        return open_source(str(folder))

    def _named(self, modality: Modality) -> Source:
        """What the pairs name in a modality, of what the source lists, and what earlier pairs named and is still there."""
        listing = self.listed()
        wanted = pl.DataFrame({"uri": self.pairs.uris(modality)}, schema={"uri": pl.String})
        found = listing.join(wanted, on="uri", how="semi")
        if found.is_empty():
            raise PairsError(
                f"none of the {wanted.height:,} {modality} URIs, such as {wanted.item(0, 0)}, is an object of {self.source.root}; "
                f"name the folder or bucket that relative URIs begin at with --source"
            )
        held = table.open_table(table.connect(self.database), modality)
        before = table.present(held, self.source.root).select("uri") if held is not None else wanted
        return ListedSource(self.source, listing.join(pl.concat([wanted, before]).unique(), on="uri", how="semi"))

    def listed(self) -> pl.DataFrame:
        """The source's listing, made once."""
        if self._listing is None:
            self._listing = list_source(self.source)
        return self._listing

    def _table(self, modality: Modality) -> Table:
        opened = table.open_table(table.connect(self.database), modality)
        if opened is None:
            raise PairsError(self._none_embedded(modality))
        return opened

    def _none_embedded(self, modality: Modality) -> str:
        failed = quarantine.by_reason(quarantine.load(table.connect(self.database), modality))
        told = ", ".join(f"{reason}: {n}" for reason, n in failed.items()) or "none is of a readable type"
        return f"not one {modality} of {self.settings.pairs} could be embedded ({told})"

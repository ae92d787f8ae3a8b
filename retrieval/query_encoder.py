"""From a query to its vectors: words, a file, the bytes of a file or an open picture, by the encoders of one space."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encoders import registry
from encoders.context import fitted
from encoders.spec import Encoder, Modality, Space
from encoders.stacking import alone
from retrieval.errors import QueryError
from retrieval.means import mean

if TYPE_CHECKING:
    from PIL.Image import Image

FRAMES = 32  # of a video that is asked with, spread over all of it


class QueryEncoder:
    """A space, ready for queries; each encoder is built at its first use and kept. Decoders are imported when a file is asked with.

    Parameters
    ----------
    space : its encoders' weights must be those of the specs, which each encoder checks when it loads them (EncoderError).
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self._encoders: dict[Modality, Encoder] = {}

    def embed(self, query: str | Path | bytes | Image) -> np.ndarray:
        """Vectors of a query, float32 (windows, dimension), each of length one.

        Parameters
        ----------
        query : words (a string is always words: the path of a file is a Path); a Path or the bytes of a picture, sound, video or text;
            or a picture that Pillow has opened.

        Raises
        ------
        QueryError : the space has no encoder for it, or it is empty.
        MediumError : the file is broken, too large, or nothing that is read.
        """
        if isinstance(query, str):
            return self._text([query], self.encoder("text", "words"))
        if isinstance(query, (Path, bytes)):
            return self._file(query)
        from encoders.media.pictures import pixels

        return self._picture(pixels(query), "a picture")

    def embed_whole(self, query: str | Path | bytes | Image) -> np.ndarray:
        """One vector of a query, float32 (dimension,): the mean of its windows, of length one."""
        return mean(self.embed(query), "the query")

    def encoder(self, modality: Modality, what: str) -> Encoder:
        """The encoder of a modality; QueryError, which says that `what` cannot be embedded, where the space has none."""
        if modality not in self.space.encoders:
            raise QueryError(f"space {self.space.name!r} cannot embed {what}; it can embed {', '.join(self.space.encoders)}")
        if modality not in self._encoders:
            # One float32 forward pass: the table's own number format may be coarser, which moves a score by less than its rounding.
            self._encoders[modality] = registry.build(self.space.encoders[modality], "cpu", "float32")
        return self._encoders[modality]

    def _file(self, query: Path | bytes) -> np.ndarray:
        from encoders.media.containers import medium_of

        name = query.name if isinstance(query, Path) else "the query"
        modality = medium_of(name, query)
        read = {"text": self._text_file, "image": self._picture_file, "audio": self._sound_file, "video": self._video_file}
        return read[modality](query, f"{name} ({modality})")

    def _text_file(self, query: Path | bytes, what: str) -> np.ndarray:
        from encoders.media import texts

        encoder = self.encoder("text", what)
        return self._text(texts.blocks(query, query.name if isinstance(query, Path) else ""), encoder)

    def _picture_file(self, query: Path | bytes, what: str) -> np.ndarray:
        from encoders.media import pictures

        self.encoder("image", what)  # refused before it is decoded
        return self._picture(pictures.decode(query), what)

    def _sound_file(self, query: Path | bytes, what: str) -> np.ndarray:
        from encoders.media import sounds

        encoder = self.encoder("audio", what)
        wanted = encoder.spec.preprocessing
        windows = sounds.windows(query, wanted["sampling_rate"], wanted["window_samples"])
        return np.concatenate([encoder.encode(alone(encoder.prepare(window.samples))) for window in windows])

    def _video_file(self, query: Path | bytes, what: str) -> np.ndarray:
        from encoders.media import videos
        from encoders.media.frames import FrameChoice

        read: tuple[Modality, ...] = self.space.modalities_of("video") or ("video",)
        encoders = {modality: self.encoder(modality, what) for modality in read}
        specs = {modality: encoder.spec for modality, encoder in encoders.items()}
        parts = videos.parts(query, specs, FrameChoice(most=FRAMES))
        return np.concatenate([encoders[part.modality].encode(alone(encoders[part.modality].prepare(part.medium))) for part in parts])

    def _picture(self, pixels: np.ndarray, what: str) -> np.ndarray:
        encoder = self.encoder("image", what)
        return encoder.encode(alone(encoder.prepare(pixels)))

    def _text(self, words: Iterable[str], encoder: Encoder) -> np.ndarray:
        parts = [chunk.text for chunk in fitted(encoder, words, role="query")]
        if not parts:
            raise QueryError("the query is empty; give some words, or the path of a picture or sound")
        prepare = getattr(encoder, "prepare_query", encoder.prepare)  # an encoder may read queries otherwise than what it finds
        return np.concatenate([encoder.encode(alone(prepare(part))) for part in parts])

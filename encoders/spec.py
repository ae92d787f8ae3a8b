"""What an encoder is, as data: the one thing about an encoder that crosses a process border or stands in a table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Protocol, get_args

import numpy as np

Modality = Literal["text", "image", "audio", "video"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)

# Where a thing came from does not change what it computes: these fields stay out of the fingerprint.
_PLACE = frozenset({"weights", "revision", "licence", "service"})


@dataclass(frozen=True)
class Spec:
    """Everything that decides an encoder's vectors, and where to get the encoder again.

    Parameters
    ----------
    encoder : name in the registry, e.g. "clip-image".
    modality : what it reads.
    dimension : length of a vector.
    inputs : what `prepare` makes: "patches", "mel patches", "tokens", "pixels", "text".
    weights : a local folder, a hub id, or "package:NAME" for weights that ship with this project; "" for none.
    revision : commit of a hub id; "" for a folder.
    digest : hex SHA-256 over the weights and the files that configure them; "" for none.
    preprocessing : every parameter between decoded medium and model input (sizes, resampling, means, window lengths …), JSON values only.
    pooling : how many states become one vector ("projection", "cls", "mean" …).
    licence : SPDX name of the licence of the weights.
    service : for an encoder that asks a server: where it is, what its key is called, what it costs; {} for all others.
    head : for an encoder whose vectors go through a head (see `encoders.headed`): {"weights": its file, "digest": hex SHA-256 of that,
        "base_dimension": numbers of a vector before the head}; {} for all others. `dimension` is what comes out of the head.
    """

    encoder: str
    modality: Modality
    dimension: int
    inputs: str
    weights: str = ""
    revision: str = ""
    digest: str = ""
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    pooling: str = ""
    licence: str = ""
    service: Mapping[str, Any] = field(default_factory=dict)
    head: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain JSON values; without a head, as it was before there were heads."""
        values = asdict(self)
        if not self.head:
            del values["head"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Spec:
        """The inverse of `to_dict`; unknown keys are a TypeError."""
        return cls(**values)

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change exactly when the vectors may."""
        deciding = {k: v for k, v in self.to_dict().items() if k not in _PLACE}
        if self.head:
            deciding["head"] = {k: v for k, v in self.head.items() if k not in _PLACE}
        return _digest(deciding)

    @property
    def base(self) -> Spec:
        """The spec of the encoder beneath the head; itself where there is none."""
        return replace(self, dimension=self.head["base_dimension"], head={}) if self.head else self


@dataclass(frozen=True)
class Space:
    """Encoders that share one vector space, by modality: what a table is filled and asked with.

    Parameters
    ----------
    name : what a person calls it.
    encoders : one spec for each modality that the space can embed; all of one dimension.
    """

    name: str
    encoders: Mapping[Modality, Spec]

    def __post_init__(self) -> None:
        if not self.encoders:
            raise ValueError(f"space {self.name!r} has no encoder; give it at least one of {', '.join(MODALITIES)}")
        dimensions = {spec.dimension for spec in self.encoders.values()}
        if len(dimensions) > 1:
            sizes = ", ".join(f"{m}: {s.dimension}" for m, s in self.encoders.items())
            raise ValueError(f"space {self.name!r} mixes dimensions ({sizes}); encoders of one space share one")

    def __iter__(self) -> Iterator[Spec]:
        return iter(self.encoders.values())

    @property
    def media(self) -> tuple[Modality, ...]:
        """What objects this space can embed: a video is readable where its frames, its sound or its clips are."""
        return tuple(medium for medium in MODALITIES if self.modalities_of(medium))

    def modalities_of(self, medium: Modality) -> tuple[Modality, ...]:
        """As what the segments of an object are encoded: a video as clips, or else frames, and windows of its sound track."""
        picture: Modality = "video" if "video" in self.encoders else "image"
        wanted: tuple[Modality, ...] = (picture, "audio") if medium == "video" else (medium,)
        return tuple(modality for modality in wanted if modality in self.encoders)

    @property
    def dimension(self) -> int:
        """Length of every vector of this space."""
        return next(iter(self.encoders.values())).dimension

    @property
    def generation(self) -> str:
        """16 hex digits over the fingerprints of all encoders: other weights or other preprocessing, another generation."""
        return _digest({m: s.fingerprint for m, s in self.encoders.items()})

    def to_json(self) -> str:
        """The space as it stands in a table's metadata."""
        return json.dumps({"name": self.name, "encoders": {m: s.to_dict() for m, s in self.encoders.items()}}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Space:
        """The inverse of `to_json`."""
        values = json.loads(text)
        return cls(values["name"], {m: Spec.from_dict(s) for m, s in values["encoders"].items()})


class Encoder(Protocol):
    """Turns segments of one modality into vectors.

    `prepare` runs in small processes that never load weights; `encode` runs where the weights are.
    """

    spec: Spec

    def prepare(self, medium: Any) -> dict[str, np.ndarray]:
        """Model inputs of one segment.

        `medium` is a picture as uint8 array (height, width, 3), a sound as float32 array (samples,) at
        `spec.preprocessing["sampling_rate"]` and at most "window_samples" long, a string, or a clip of a video as uint8 array (frames,
        height, width, 3): "clip_frames" of them, spread evenly over "clip_seconds", scaled so that their shorter side has "clip_edge"
        pixels (by default, 0, left as they are).
        """
        ...

    def encode(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Vectors of a batch, float32 (n, dimension), each of length one.

        Inputs of one shape are stacked along a new first axis; inputs of shape (length,) that differ in length are padded with
        zeros to the longest, and an int32 array "lengths" (n,) tells how much of each row is real.
        """
        ...


def _digest(values: Any) -> str:
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]

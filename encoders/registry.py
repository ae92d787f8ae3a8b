"""Encoders by name: the project's own and those of installed packages, through one door.

An encoder of your own is a class in any installed package, named in its pyproject.toml::

    [project.entry-points."sensorium.encoders"]
    letters = "letters:Letters"

It needs no base class and no registration, only these five members::

    class Letters:
        modality = "text"

        @classmethod
        def describe(cls, weights="", revision="", ignore=""):         # further parameters are options of a space's TOML file
            return Spec("letters", cls.modality, dimension=26, inputs="counts", preprocessing={"ignore": ignore})

        def __init__(self, spec, device="cpu", dtype="auto"):           # cheap: weights are loaded by the first encode
            self.spec = spec

        def prepare(self, medium):                                     # one segment: {name: array}, without weights
            ...

        def encode(self, inputs):                                      # a batch: float32 (n, dimension), each of length one
            ...

All that changes a vector must stand in the spec, for the fingerprint is made from it. Texts are cut by `spec.preprocessing["chunk"]`
({"size", "overlap"} in tokens) and the encoder's `tokenizer` (of the library tokenizers), sounds by "window_samples" at "sampling_rate";
a sound shorter than a window comes as it is. Videos are cut into clips of "clip_frames" frames over "clip_seconds".
tests/outside/ holds such a package, whole.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol, cast

from encoders.errors import EncoderError
from encoders.headed import Headed
from encoders.spec import Encoder, Modality, Spec

GROUP = "sensorium.encoders"

ENCODERS = {
    "one-hot": "encoders.words.one_hot:OneHot",
    "bag-of-words": "encoders.words.one_hot:BagOfWords",
    "word-vectors": "encoders.words.word_vectors:WordVectors",
    "clip-text": "encoders.text:ClipText",
    "clip-image": "encoders.image:ClipImage",
    "vit": "encoders.image:Vit",
    "resnet": "encoders.convolutional:ResNet",
    "convnext": "encoders.convolutional:ConvNext",
    "vgg": "encoders.vgg:Vgg",
    "siglip2-naflex": "encoders.naflex:Naflex",
    "bert": "encoders.bert:Bert",
    "ast": "encoders.audio:Ast",
    "clap-audio": "encoders.clap:ClapAudio",
    "clap-text": "encoders.clap:ClapText",
    "wav2vec2": "encoders.wav2vec2:Wav2Vec2",
    "hubert": "encoders.wav2vec2:Hubert",
    "wavlm": "encoders.wav2vec2:WavLm",
    "whisper": "encoders.whisper:Whisper",
    "pe-av-text": "encoders.pe_av:PeAvText",
    "pe-av-audio": "encoders.pe_av:PeAvAudio",
    "pe-av-video": "encoders.pe_av:PeAvVideo",
    "pe-av-image": "encoders.pe_av:PeAvImage",
    "openai": "encoders.remote.openai_embeddings:OpenAIEmbeddings",
}

_MEMBERS = ("modality", "describe", "prepare", "encode")


class EncoderClass(Protocol):
    """What stands behind a name."""

    modality: Modality

    def __call__(self, spec: Spec, device: str = "cpu", dtype: str = "auto") -> Encoder:
        """The encoder of a spec."""
        ...

    def describe(self, weights: str = "", revision: str = "", **options: Any) -> Spec:
        """The spec of some weights; `options` are the family's own, by name."""
        ...


def names() -> tuple[str, ...]:
    """Every name that `find` knows, sorted."""
    return tuple(sorted({*ENCODERS, *_outsiders()}))


def find(name: str) -> EncoderClass:
    """The class behind a name.

    Raises
    ------
    EncoderError : no encoder has this name, two packages claim it, or what stands behind it is no encoder.
    """
    target = ENCODERS.get(name) or _outside_target(name)
    module, _, attribute = target.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as problem:
        raise EncoderError(f"encoder {name!r} is said to be {target}, which cannot be imported: {problem}") from problem
    missing = [member for member in _MEMBERS if not hasattr(found, member)]
    if missing:
        raise EncoderError(
            f"encoder {name!r} is said to be {target}, which lacks {', '.join(missing)}; encoders/registry.py tells what it needs"
        )
    return cast("EncoderClass", found)


def describe(name: str, weights: str = "", revision: str = "", **options: Any) -> Spec:
    """The spec of an encoder with some weights; reads configuration files and hashes the weights, loads nothing.

    Parameters
    ----------
    name : one of `names()`.
    weights : a folder, a hub id, or "package:NAME" for weights that ship with this project.
    revision : commit of a hub id.
    options : what the family allows beyond that, such as pooling="mean" or licence="MIT".

    Raises
    ------
    EncoderError : unknown name or option, or weights that are not there or do not fit.
    """
    family = find(name)
    check_options(name, options)
    if weights and not revision and Path(weights).expanduser().exists():
        weights = str(Path(weights).expanduser().resolve())
    spec = family.describe(weights=weights, revision=revision, **options)
    if spec.encoder != name:
        raise EncoderError(f"encoder {name!r} describes itself as {spec.encoder!r}; its spec must carry the name it is found by")
    return spec


def build(spec: Spec, device: str = "cpu", dtype: str = "auto") -> Encoder:
    """The encoder of a spec, with its head if it has one: cheap, without weights and without torch until the first `encode`.

    Parameters
    ----------
    device : a torch device, such as "cpu" or "cuda:0".
    dtype : "auto", "float32", "bfloat16" or "float16"; see `hardware.dtypes`.
    """
    encoder = find(spec.encoder)(spec.base, device=device, dtype=dtype)
    return Headed(encoder, spec) if spec.head else encoder


def check(spec: Spec) -> None:
    """EncoderError for what is certainly missing before any work, such as a key or a head's file, where the encoder can tell."""
    getattr(build(spec), "check", lambda: None)()


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """EncoderError for an option that the family does not have, or of another type than its default."""
    allowed = dict(inspect.signature(find(name).describe).parameters)
    for option, value in options.items():
        if option not in allowed:
            raise EncoderError(f"encoder {name!r} has no option {option!r}{nearest(option, [*allowed])}; allowed: {', '.join(allowed)}")
        kind = type(allowed[option].default)
        if kind in {str, int, float, bool} and type(value) not in ({int, float} if kind is float else {kind}):
            raise EncoderError(f"encoder {name!r} takes {kind.__name__} as {option!r}, got {type(value).__name__} {value!r}")


def nearest(word: str, allowed: list[str] | tuple[str, ...]) -> str:
    """A hint for a mistyped word, "" if none is near."""
    near = get_close_matches(word, allowed, n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _outsiders() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, []).append(point)
    return found


def _outside_target(name: str) -> str:
    points = _outsiders().get(name, [])
    if len({point.value for point in points}) > 1:
        packages = ", ".join(sorted(point.dist.name if point.dist else point.value for point in points))
        raise EncoderError(f"encoder {name!r} is claimed by several packages ({packages}); uninstall all but one")
    if not points:
        raise EncoderError(f"no encoder is called {name!r}{nearest(name, names())}; known: {', '.join(names())}")
    return points[0].value

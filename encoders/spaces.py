"""Spaces by name or from a TOML file: which encoders share one vector space.

::

    name = "shop"

    [image]
    encoder = "clip-image"            # a name from `sensorium encoders`
    weights = "some-org/some-clip"    # a hub id, a folder (relative to this file), or package:NAME
    revision = "…"                    # the commit of a hub id
    licence = "MIT"                   # and other options of the encoder
    head = "image.safetensors"        # a trained map after the encoder (see `encoders.headed`), relative to this file

    [text]
    …
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from encoders import headed, registry
from encoders.errors import EncoderError
from encoders.spec import MODALITIES, Modality, Space, Spec
from encoders.weights import PACKAGE, place

SPACES = {"miniature": "package:miniature/space.toml"}

Sections = dict[Modality, dict[str, Any]]


def load_space(name_or_path: str) -> Space:
    """A space by its name or from its TOML file.

    Parameters
    ----------
    name_or_path : a key of `SPACES`, or the path of a file as this module's docstring shows.

    Raises
    ------
    EncoderError : there is no such name or file, the file has a key that means nothing or lacks one, the weights are not there, the
        encoders differ in dimension, or one embeds another modality than its section says.
    """
    path = _find(name_or_path)
    name, sections = _read(path)
    try:
        return Space(name, _described(path, sections))
    except ValueError as problem:
        raise EncoderError(f"{path}: {problem}") from problem


def load_encoders(name_or_path: str, keep: Collection[Modality] = ()) -> dict[Modality, Spec]:
    """The encoders of a space's TOML file, which may be strangers of different dimensions: what alignment starts from.

    A head that only calibrates is left out, for an aligned space gets a calibration of its own; not so of the modalities in `keep`, whose
    vectors stay what they are. Other parameters and errors are those of `load_space`.
    """
    path = _find(name_or_path)
    specs = _described(path, _read(path)[1])
    return {m: spec.base if m not in keep and headed.only_calibrates(spec) else spec for m, spec in specs.items()}


def without_heads(sections: Sections, but: Collection[Modality] = ()) -> Sections:
    """The sections of the encoders beneath the heads; those in `but` as they are."""
    return {m: {key: value for key, value in section.items() if key != "head" or m in but} for m, section in sections.items()}


def anchored(name_or_path: str) -> Sections:
    """The sections of a space's TOML file with its places made absolute, so that they mean the same in any other file."""
    path = _find(name_or_path)
    sections = _read(path)[1]
    return {modality: _anchored(path, section) for modality, section in sections.items()}


def sections_of(name_or_path: str) -> Sections:
    """The sections of a space as they stand in its TOML file, without describing its encoders."""
    return _read(_find(name_or_path))[1]


def _find(name_or_path: str) -> Path:
    path = place(SPACES.get(name_or_path, name_or_path))
    if path.is_file():
        return path
    hint = registry.nearest(name_or_path, [*SPACES])
    raise EncoderError(f"there is no space and no file {name_or_path!r}{hint}; give one of {', '.join(SPACES)}, or the path of a TOML file")


def _read(path: Path) -> tuple[str, Sections]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise EncoderError(f"{path} is no TOML file: {problem}") from problem
    for key in values:
        if key != "name" and key not in MODALITIES:
            raise EncoderError(
                f"{path}: unknown key {key!r}{registry.nearest(key, ['name', *MODALITIES])}; allowed: name, {', '.join(MODALITIES)}"
            )
    if not isinstance(values.get("name"), str) or not values["name"]:
        raise EncoderError(f'{path}: the space has no name; write name = "…" at the top')
    return values["name"], {m: _section(path, m, values[m]) for m in MODALITIES if m in values}


def _section(path: Path, modality: Modality, section: Any) -> dict[str, Any]:
    if not isinstance(section, dict) or not isinstance(section.get("encoder"), str):
        raise EncoderError(f'{path}: [{modality}] names no encoder; write encoder = "…", one of {", ".join(registry.names())}')
    return section


def _described(path: Path, sections: Sections) -> dict[Modality, Spec]:
    return {modality: _describe(path, modality, section) for modality, section in sections.items()}


def _describe(path: Path, modality: Modality, section: Mapping[str, Any]) -> Spec:
    options = {key: value for key, value in _anchored(path, section).items() if key not in {"encoder", "head"}}
    places = {key: section.get(key, "") for key in ("weights", "revision", "head")}
    if not all(isinstance(place, str) for place in places.values()):
        raise EncoderError(f"{path}: [{modality}] weights, revision and head are texts, got {', '.join(map(repr, places.values()))}")
    try:
        spec = registry.describe(section["encoder"], **options)
        if "head" in section:
            spec = headed.spec_of(spec, _beside(path, section["head"]))
    except EncoderError as problem:
        raise EncoderError(f"{path}: [{modality}] {problem}") from problem
    if spec.modality != modality:
        raise EncoderError(f"{path}: [{modality}] encoder {spec.encoder!r} embeds {spec.modality}; move it to [{spec.modality}]")
    return spec


def _anchored(path: Path, section: Mapping[str, Any]) -> dict[str, Any]:
    """A section with its places as seen from the file."""
    seen = dict(section)
    if isinstance(section.get("weights"), str) and not section.get("revision"):
        seen["weights"] = _from(path, section["weights"])
    if isinstance(section.get("tokenizer"), str):
        seen["tokenizer"] = _from(path, section["tokenizer"])
    if isinstance(section.get("head"), str):
        seen["head"] = _beside(path, section["head"])
    return seen


def _from(path: Path, weights: str) -> str:
    """Weights as seen from the file: a relative path starts beside it, never where the command happens to be typed."""
    if not weights or weights.startswith(PACKAGE):
        return weights
    folder = Path(weights).expanduser()
    beside = path.parent / folder
    return str(beside.resolve()) if beside.exists() or folder.exists() else weights


def _beside(path: Path, head: str) -> str:
    """A head's file, which is never the id of a hub."""
    return head if head.startswith(PACKAGE) else str((path.parent / Path(head).expanduser()).resolve())

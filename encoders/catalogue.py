"""What there is to choose from: spaces that are ready, encoders by name, and well-known checkpoints of each."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from encoders import registry
from encoders.errors import EncoderError
from encoders.spaces import SPACES, load_space, sections_of
from encoders.spec import Modality, Spec
from encoders.weights import is_here, revisions_here

UNITS: dict[Modality, str] = {"text": "tokens", "image": "pixels", "audio": "seconds"}


@dataclass(frozen=True)
class Entry:
    """One line of what there is to choose from.

    Parameters
    ----------
    kind : a space is ready to be used, an encoder needs weights to be named, a checkpoint is well-known weights for an encoder.
    name : what stands in a command (a space) or in a space's TOML file (an encoder).
    modalities : what it embeds.
    dimension : length of its vectors; None where the weights decide, or are not here.
    reads : how much it takes at once, in `unit`: tokens of a text, pixels of a picture's edge, seconds of a sound, frames of a clip.
    licence : of the weights; "" where they decide or their card does not state it.
    weights : hub id of a checkpoint, or name of a server's model.
    here : whether it can be used without a network; None for an encoder that works with any weights, and for a server's model.
    revisions : commits of a checkpoint that are on this machine, any of which a space may name.
    problem : why it cannot be used at all, "" if it can.
    """

    kind: Literal["space", "encoder", "checkpoint"]
    name: str
    modalities: tuple[Modality, ...]
    dimension: int | None = None
    reads: float | None = None
    unit: str = ""
    licence: str = ""
    weights: str = ""
    here: bool | None = None
    revisions: tuple[str, ...] = ()
    problem: str = ""


def catalogue() -> list[Entry]:
    """Every space and every encoder, each before its well-known checkpoints; downloads nothing and never fails as a whole."""
    entries = [_space(name) for name in SPACES]
    for name in registry.names():
        encoder = _encoder(name)
        entries.append(encoder)
        entries += [] if encoder.problem else [_checkpoint(encoder, one) for one in checkpoints() if name in one["reads"]]
    return entries


@cache
def checkpoints() -> tuple[dict[str, Any], ...]:
    """The tables of catalogue.toml: "weights", "dimension" (absent where it is not known), "licence", "server", "reads" by encoder."""
    return tuple(tomllib.loads(files("encoders").joinpath("catalogue.toml").read_text(encoding="utf-8"))["checkpoint"])


def reads(spec: Spec) -> float | None:
    """How much an encoder takes at once, in the unit of its modality; None where its spec sets no bound."""
    how = spec.preprocessing
    match spec.modality:
        case "text":
            return how.get("context")
        case "image":
            return how.get("crop")
        case "audio":
            return how["window_samples"] / how["sampling_rate"] if "window_samples" in how else None
        case _:
            return how.get("clip_frames")


def _space(name: str) -> Entry:
    sections = sections_of(name)
    here = all(is_here(section.get("weights", ""), section.get("revision", "")) for section in sections.values())
    licence = " and ".join(sorted({section.get("licence", "") for section in sections.values()}))
    try:
        dimension = load_space(name).dimension if here else None
    except EncoderError as problem:
        return Entry("space", name, tuple(sections), licence=licence, here=here, problem=str(problem))
    return Entry("space", name, tuple(sections), dimension, licence=licence, here=here)


def _encoder(name: str) -> Entry:
    """Most work with any weights; one that needs none, or brings its own, describes itself unasked."""
    try:
        modality = registry.find(name).modality
    except EncoderError as problem:
        return Entry("encoder", name, (), problem=str(problem))
    try:
        spec = registry.describe(name)
    except Exception:  # noqa: BLE001 - needs weights to be named; an outsider's code may say so in any way
        return Entry("encoder", name, (modality,), unit=_unit(modality))
    return Entry("encoder", name, (modality,), spec.dimension, reads(spec), _unit(modality), spec.licence, here=True)


def _checkpoint(encoder: Entry, table: dict[str, Any]) -> Entry:
    on_server = table.get("server", False)
    revisions = () if on_server else revisions_here(table["weights"])
    amount = table["reads"][encoder.name]
    number, _, unit = amount.partition(" ") if isinstance(amount, str) else (amount, "", encoder.unit)
    return Entry(
        "checkpoint",
        encoder.name,
        encoder.modalities,
        table.get("dimension"),
        float(number),
        unit,
        table["licence"],
        table["weights"],
        here=None if on_server else bool(revisions),
        revisions=revisions,
    )


def _unit(modality: Modality) -> str:
    return UNITS.get(modality, "frames")
